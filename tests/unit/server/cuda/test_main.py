"""llmux-cuda-checkpoint as a process, with the stand-in for NVIDIA's driver."""

import json
import os
import subprocess  # noqa: TID251 - the command line is tested as a process
import sys
import threading
import time

import pytest

from llmux_setup import stand_in

OLD, NEW = "00000000-0000-0000-0000-000000000000", "8f4022ba-e0cb-1298-286e-225c953a7feb"


def program(*words):
    return subprocess.run(
        [sys.executable, "-m", "llmux.server.cuda", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def state_of(pid):
    return program("--get-state", "--pid", pid).stdout


def act(action, pid, *more):
    return program("--action", action, "--pid", pid, *more)


def test_a_process_goes_through_all_states_and_back(driver):
    pid = driver.start()
    assert driver.counts(pid)
    seen = [state_of(pid)]
    for action in ("lock", "checkpoint", "restore", "unlock"):
        done = act(action, pid)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        seen.append(state_of(pid))
        assert driver.counts(pid) if action == "unlock" else driver.stands_still(pid)
    assert seen == ["running\n", "locked\n", "checkpointed\n", "locked\n", "running\n"]


def test_toggle_takes_it_there_and_back(driver):
    pid = driver.start()
    assert program("--toggle", "--pid", pid).returncode == 0
    assert driver.state(pid) == "checkpointed"
    assert program("--toggle", "--pid", pid).returncode == 0
    assert driver.state(pid) == "running"
    assert driver.counts(pid)


def test_a_toggle_that_fails_half_way_lets_the_process_go_on(driver):
    pid = driver.start()
    driver.tell(pid, "fail-checkpoint", "801")
    done = program("--toggle", "--pid", pid)
    assert done.returncode == 1
    assert done.stderr.startswith(f'Error toggling CUDA in process ID {pid}: "operation not supported"\n')
    assert driver.counts(pid)


def test_the_restore_thread_has_an_id(driver):
    pid = driver.start()
    assert program("--get-restore-tid", "--pid", pid).stdout == f"{pid}\n"


def test_a_lock_waits_for_work_and_no_longer_than_it_may(driver):
    pid = driver.start()
    busy = driver.tell(pid, "busy")
    done = act("lock", pid, "--timeout", 50)
    assert (done.returncode, driver.state(pid)) == (1, "running")
    assert done.stderr.startswith(
        f'Could not lock on process ID {pid}: "device not ready"\nCUDA_ERROR_NOT_READY. '
    )
    threading.Timer(0.3, busy.unlink).start()
    began = time.monotonic()
    assert act("lock", pid).returncode == 0
    assert time.monotonic() - began > 0.25
    assert driver.state(pid) == "locked"


@pytest.mark.parametrize("action", ["checkpoint", "restore", "unlock"])
def test_what_its_state_does_not_allow_is_refused(driver, action):
    pid = driver.start()
    done = act(action, pid)
    assert done.returncode == 1
    assert "CUDA_ERROR_ILLEGAL_STATE" in done.stderr
    assert driver.counts(pid)


def test_processes_without_cuda_state_and_none_at_all(driver):
    for pid in (os.getpid(), 2_000_000_000):
        done = program("--get-state", "--pid", pid)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f'Could not get the state of process ID {pid}: "invalid argument"\n')
        assert "nvidia-smi" in done.stderr


def test_a_process_comes_back_on_another_gpu(driver):
    pid = driver.start()
    program("--toggle", "--pid", pid)
    driver.directory.joinpath("gpus").write_text(f"{OLD}\n{NEW}\n".replace("-", ""))
    elsewhere = act("restore", pid, "--device-map", f"GPU-{NEW}=GPU-{OLD}")
    assert (elsewhere.returncode, driver.state(pid)) == (1, "checkpointed")
    assert act("restore", pid, "-d", f"GPU-{OLD}=GPU-{NEW}").returncode == 0
    assert driver.directory.joinpath(f"{pid}.gpu").read_text() == NEW.replace("-", "")


def test_a_map_that_does_not_name_every_gpu_that_was_there_is_refused(driver):
    driver.directory.joinpath("gpus").write_text(f"{OLD}\n{NEW}\n".replace("-", ""))
    pid = driver.start()
    program("--toggle", "--pid", pid)
    some = act("restore", pid, "--device-map", f"GPU-{OLD}=GPU-{NEW}")
    assert (some.returncode, driver.state(pid)) == (1, "checkpointed")
    assert "a device map has to name each GPU" in some.stderr
    assert act("restore", pid, "-d", f"GPU-{OLD}=GPU-{NEW},GPU-{NEW}=GPU-{OLD}").returncode == 0


def test_a_driver_before_580_takes_no_device_map(driver):
    pid = driver.start()
    program("--toggle", "--pid", pid)
    driver.directory.joinpath("version").write_text("12080")
    done = act("restore", pid, "-d", f"GPU-{OLD}=GPU-{OLD}")
    assert "the driver takes no device map" in done.stderr
    assert "580 or newer" in done.stderr
    assert act("restore", pid).returncode == 0


def test_a_driver_that_is_not_there(monkeypatch):
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    done = program("--get-state", "--pid", os.getpid())
    assert done.returncode == 1
    assert done.stderr.startswith('Error initializing CUDA: "libcuda.so.1 cannot be loaded"\n')
    assert "--gpus all" in done.stderr


def test_a_driver_that_is_too_old(driver, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stand_in.OLD_DRIVER))
    done = program("--get-state", "--pid", os.getpid())
    assert done.stderr.startswith('Error initializing CUDA: "the driver has no checkpoint API"\n')
    assert "570 or newer" in done.stderr


@pytest.mark.parametrize(
    ("answer", "name"),
    [(100, "CUDA_ERROR_NO_DEVICE"), (304, "CUDA_ERROR_OPERATING_SYSTEM"), (3, "CUDA_ERROR_NOT_INITIALIZED")],
)
def test_a_driver_that_does_not_start(driver, answer, name):
    driver.directory.joinpath("init").write_text(str(answer))
    done = program("--get-state", "--pid", os.getpid())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error initializing CUDA: ")
    assert name in done.stderr


def test_help_and_a_command_line_that_says_nothing():
    assert "--action lock | checkpoint | restore | unlock" in program("-h").stdout
    done = program("--get-state")
    assert (done.returncode, done.stderr) == (
        2,
        "llmux-cuda-checkpoint: --pid is needed; --help says more\n",
    )


def test_one_process_answers_line_after_line(driver):
    pid = driver.start()
    lines = f"--get-state --pid {pid}\n--action lock --pid {pid}\n\n--action lock --pid {pid}\n"
    served = subprocess.run(
        [sys.executable, "-m", "llmux.server.cuda", "--serve"],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    )
    state, locked, nothing, again = map(json.loads, served.stdout.splitlines())
    assert (state, locked, nothing[0], again[0]) == ([0, "running\n"], [0, ""], 2, 1)
    assert again[1].startswith(f'Could not lock on process ID {pid}: "the operation cannot be performed')
