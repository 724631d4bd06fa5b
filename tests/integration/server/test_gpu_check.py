"""`make gpu-check` as a process: without a GPU, and with the stand-in for NVIDIA's driver, which it names as such."""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - a program is what is tested
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from llmux_setup import stand_in
from stand_in_driver import StandIn
from stand_in_driver.nvml import GIB, SAID

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[3]
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.0.0  a stand-in\n"
HIDE = 'mount --bind "$1" /proc/driver && shift && exec "$@"'
GPUS = "8f4022ba-e0cb-1298-286e-225c953a7feb", "00000000-0000-0000-0000-000000000001"
CUDA_CHECKPOINT = f'#!/bin/sh\nexec {sys.executable} -m llmux.server.cuda "$@"\n'
VLLM = f"""\
#!{sys.executable}
# A stand-in for vLLM: the tiny engine on a GPU, with those of the options that it has.
import os, sys
_, serve, model, *words = sys.argv
given = dict(zip(words[::2], words[1::2]))
kept = [word for name in ("--host", "--port", "--served-model-name") for word in (name, given[name])]
argv = [sys.executable, "-m", "llmux.tiny_engine", serve, model, *kept, "--device", "cuda"]
os.execv(sys.executable, argv)
"""
CRIU = """\
#!/bin/sh
# A stand-in for CRIU that can dump nothing.
[ "$1" = check ] && exit 0
while [ $# -gt 1 ]; do [ "$1" = --images-dir ] && images=$2; shift; done
echo "Error (cuda): a stand-in dumps nothing" >"$images/dump.log"
exit 1
"""


@dataclass
class Machine:
    """A machine whose GPUs are the stand-in's; `seen` is what the check has written as JSON."""

    place: Path
    environ: dict[str, str]
    seen: dict = field(default_factory=dict)

    def have_gpus(self, *uuids: str) -> None:
        """Have these, as the driver and as NVML tell of them."""
        self.place.joinpath("driver/gpus").write_text("".join(f"{UUID(uuid).hex}\n" for uuid in uuids))
        lines = (f"gpu {number} GPU-{uuid} {GIB} 0\n" for number, uuid in enumerate(uuids))
        self.place.joinpath("nvml").write_text("".join(lines))

    def put(self, name: str, program: str) -> None:
        """Put a program on its PATH."""
        path = self.place / "bin" / name
        path.write_text(program)
        path.chmod(0o755)

    @contextmanager
    def checking(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        argv = ("unshare", "--mount", "sh", "-c", HIDE, "sh", str(self.place / "proc"), sys.executable)
        report = self.place / "seen.json"
        with subprocess.Popen(
            [*argv, "-m", "gpu_check", "--bytes", "3000000", "--json", str(report), *options],
            env=self.environ,
            cwd=self.place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
        self.seen = json.loads(report.read_text()) if report.exists() else {}

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        with self.checking(*options) as process:
            said, errors = process.communicate(timeout=500)
        return subprocess.CompletedProcess(process.args, process.returncode, said, errors)

    def outcomes(self) -> dict[str, str]:
        return {each["case"]: each["outcome"] for each in self.seen["results"]}

    def of(self, case: str) -> dict:
        return next(each for each in self.seen["results"] if each["case"] == case)


@pytest.fixture
def bare(tmp_path):
    """Give a machine without a driver."""
    for name in ("bin", "driver", "proc/nvidia"):
        tmp_path.joinpath(name).mkdir(parents=True)
    tmp_path.joinpath("proc/nvidia/version").write_text(VERSION)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return Machine(tmp_path, {**os.environ, "PYTHONPATH": str(ROOT / "docker"), "PATH": path})


@pytest.fixture
def machine(bare):
    StandIn(bare.place / "driver", lambda *_: None)
    bare.have_gpus(GPUS[0])
    bare.environ |= {
        "LD_LIBRARY_PATH": f"{stand_in.DRIVER}:{stand_in.NVML}",
        "LLMUX_STAND_IN_CUDA": str(bare.place / "driver"),
        SAID: str(bare.place / "nvml"),
        "LLMUX_GPU_CHECK_STAND_IN": "1",
    }
    return bare


def test_without_a_gpu_it_says_so_and_ends_with_5(bare):
    done = bare.check()
    assert (done.returncode, done.stdout, bare.seen) == (5, "", {})
    assert "there is no NVIDIA GPU to check: loading the driver: libcuda.so.1 cannot be loaded" in done.stderr
    assert "nothing is proved" in done.stderr


def test_the_stand_in_is_no_gpu_unless_it_is_asked_for(machine):
    del machine.environ["LLMUX_GPU_CHECK_STAND_IN"]
    done = machine.check()
    assert (done.returncode, done.stdout) == (5, "")
    assert "STAND-IN for NVIDIA's driver: no GPU was touched" in done.stderr


def test_a_driver_without_gpus_is_no_gpu(machine):
    machine.have_gpus()
    done = machine.check()
    assert (done.returncode, "the driver finds none" in done.stderr) == (5, True)


def test_all_that_needs_no_container_runs_with_the_stand_in_and_says_so(machine, trained):
    machine.have_gpus(*GPUS)
    machine.put("cuda-checkpoint", CUDA_CHECKPOINT)
    machine.put("vllm", VLLM)
    done = machine.check("--rounds", "2", "--vllm-model", str(trained))
    assert done.returncode == 0, done.stdout + done.stderr
    ran = {"bandwidth", "bare", "cuda-checkpoint", "device-map", "tiny", "serve-tiny", "serve-vllm"}
    outcomes = machine.outcomes()
    assert {case for case, outcome in outcomes.items() if outcome == "passed"} >= ran
    assert "FAILED" not in outcomes.values()
    assert machine.seen["stand_in"] is True
    assert done.stdout.startswith("STAND-IN for NVIDIA's driver: no GPU was touched")
    assert "STAND-IN, no GPU: passed: " in done.stdout.splitlines()[-1]
    assert [len(machine.of(case)["numbers"]["rounds"]) for case in ("bare", "tiny", "serve-tiny")] == [
        2,
        2,
        2,
    ]
    assert machine.of("bare")["numbers"]["freed"] >= 3000000
    assert "torch: torch is in no Python" in done.stdout or outcomes["torch"] == "passed"
    assert not list(machine.place.joinpath("driver").glob("*.kept-*")), "nobody is left suspended"


def test_memory_that_comes_back_otherwise_fails(machine):
    machine.place.joinpath("driver/lose").write_text("1")
    done = machine.check("--rounds", "1", "--only", "bare,tiny")
    assert done.returncode == 1, done.stdout
    assert "the GPU has counted" in machine.of("bare")["said"]
    assert "the GPU's memory has changed" in machine.of("tiny")["said"]
    assert "STAND-IN, no GPU: FAILED: bare, tiny" in done.stdout


def test_an_old_driver_proves_nothing(machine):
    machine.environ["LD_LIBRARY_PATH"] = f"{stand_in.OLD_DRIVER}:{stand_in.NVML}"
    done = machine.check()
    assert done.returncode == 1
    assert machine.outcomes().pop("bandwidth") == "passed"
    assert "has no checkpoint API: 570 or newer is needed" in machine.of("bare")["said"]
    assert "FAILED: nothing of what is to be proved could be run" in done.stdout


def test_what_was_seen_is_told_when_it_is_interrupted(machine):
    with machine.checking("--only", "bandwidth,bare,tiny", "--rounds", "1000") as process:
        said = ""
        while "a process with the driver's API alone" not in said:
            said += process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=60)[0]
    outcomes = machine.outcomes()
    assert process.returncode == 1
    assert (outcomes["bandwidth"], outcomes["bare"], outcomes["tiny"]) == ("passed", "FAILED", "not run")
    assert said.count("interrupted") == 2


def test_a_dump_that_fails_is_told_with_crius_words(machine):
    machine.put("criu", CRIU)
    done = machine.check("--only", "criu")
    assert (done.returncode, machine.outcomes()["criu"]) == (1, "FAILED")
    assert "a stand-in dumps nothing" in machine.of("criu")["log"]
    assert "a stand-in dumps nothing" in done.stdout
    calls = machine.place.joinpath("driver/log").read_text().split()[::3]
    assert calls == ["lock", "checkpoint", "restore", "unlock"]
