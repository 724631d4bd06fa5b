"""Several processes are suspended and resumed through the real program, with the stand-in for NVIDIA's driver; each step fails once."""

import asyncio
import os
import time

import pytest

from llmux.server._effect_errors import ProgramMissing, TookTooLong
from llmux.server.cuda.devices import Devices, Gpu
from llmux.server.cuda.errors import (
    CudaDriverMissing,
    CudaFailed,
    CudaLockTimedOut,
    CudaNotSupported,
    CudaStateLost,
    DeviceMapUnsupported,
    GpuMemoryFull,
    GpusDiffer,
    HostMemoryLacking,
    NoCudaState,
)
from llmux.server.cuda.suspend import OURS, CudaSettings, program_of, resume, suspend, users

GIB = 1 << 30


def settings(on_gpus=None, free=None, host=GIB, **more):
    """Return settings for a machine whose NVML says this; no process is on a GPU that is suspended."""
    return CudaSettings(
        on_gpus=lambda _pids: dict(on_gpus or {}),
        free_on_gpus=lambda: dict(free or {}),
        host_memory=lambda: host,
        **more,
    )


@pytest.fixture
async def two(driver):
    return [await asyncio.to_thread(driver.start) for _ in range(2)]


def calls(driver):
    return [" ".join(line.split()[:2]) for line in driver.done()]


async def all_count(driver, pids):
    return [await asyncio.to_thread(driver.counts, pid) for pid in pids]


async def test_two_processes_go_and_come_back(driver, two):
    one, other = two
    had = await suspend(settings({"GPU-1": 5}), two)
    assert had.taken == {"GPU-1": 5}
    assert [driver.state(pid) for pid in two] == ["checkpointed"] * 2
    assert calls(driver) == [*(f"lock {pid}" for pid in two), *(f"checkpoint {pid}" for pid in two)]
    assert [await asyncio.to_thread(driver.stands_still, pid) for pid in two] == [True] * 2
    await resume(settings(), two)
    back = (other, one)
    assert calls(driver) == [*(f"restore {pid}" for pid in back), *(f"unlock {pid}" for pid in back)]
    assert await all_count(driver, two) == [True] * 2


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("step", ["lock", "checkpoint"])
async def test_a_step_that_fails_leaves_all_running(driver, two, step, victim):
    driver.tell(two[victim], f"fail-{step}", "801")
    with pytest.raises(CudaNotSupported, match=f"could not {step} process {two[victim]}") as failed:
        await suspend(settings(), two)
    assert "MIG" in failed.value.hint
    assert [driver.state(pid) for pid in two] == ["running"] * 2
    assert await all_count(driver, two) == [True] * 2


async def test_work_that_does_not_end_leaves_all_running(driver, two):
    driver.tell(two[1], "busy")
    with pytest.raises(CudaLockTimedOut, match="CUDA_ERROR_NOT_READY"):
        await suspend(settings(lock_timeout=0.05), two)
    assert await all_count(driver, two) == [True] * 2


async def test_a_call_that_hangs_is_ended_and_all_run_on(driver, two):
    delay = driver.tell(two[1], "delay-checkpoint", "60000")
    began = time.monotonic()
    with pytest.raises(TookTooLong) as hung:
        await suspend(settings(step_timeout=1.5), two)
    assert time.monotonic() - began < 20
    assert "NCCL" in hung.value.hint
    delay.unlink()
    assert await all_count(driver, two) == [True] * 2


async def test_a_process_that_breaks_is_lost_and_said_to_be(driver, two):
    driver.tell(two[1], "fail-checkpoint", "999 failed")
    with pytest.raises(CudaStateLost, match=f"process {two[1]} is failed") as lost:
        await suspend(settings(), two)
    assert isinstance(lost.value.__context__, CudaFailed)


@pytest.mark.parametrize("step", ["restore", "unlock"])
async def test_a_resume_that_fails_can_be_done_again_where_the_driver_lets_it(driver, two, step):
    await suspend(settings(), two)
    fault = driver.tell(two[1], f"fail-{step}", "2")
    with pytest.raises(GpuMemoryFull, match="out of memory"):
        await resume(settings(), two)
    fault.unlink()
    await resume(settings(), two)
    assert await all_count(driver, two) == [True] * 2


async def test_processes_without_cuda_state_are_left_alone(driver, two):
    await suspend(settings(), [os.getpid(), *two])
    assert [driver.state(pid) for pid in two] == ["checkpointed"] * 2
    await resume(settings(), [os.getpid(), *two, 2_000_000_000])
    assert await all_count(driver, two) == [True] * 2
    with pytest.raises(NoCudaState):
        await suspend(settings(), [os.getpid()])
    with pytest.raises(NoCudaState, match="none has loaded libcuda"):
        await suspend(settings(), [])
    await resume(settings(), [os.getpid()])


async def test_more_than_host_memory_can_take_is_refused_before_anything_is_done(driver, two):
    with pytest.raises(HostMemoryLacking, match=r"3\.0 GiB on the GPUs do not fit into the 2\.0 GiB"):
        await suspend(settings({"GPU-1": GIB, "GPU-2": 2 * GIB}, host=2 * GIB), two)
    assert driver.done() == []
    assert await all_count(driver, two) == [True] * 2


async def test_a_gpu_without_room_is_waited_for_and_then_not_tried(driver, two, monkeypatch):
    await suspend(settings(), two)
    driver.done()
    monkeypatch.setattr("llmux.server.cuda.suspend._FREED_WITHIN", 0.1)
    with pytest.raises(GpuMemoryFull, match=r"it had 2\.0 GiB on GPU-1, where 1\.0 GiB are free"):
        await resume(settings(free={"GPU-1": GIB}), two, Devices(taken={"GPU-1": 2 * GIB}))
    assert driver.done() == []
    free = iter([{"GPU-1": GIB}, {"GPU-1": 3 * GIB}])
    freed = CudaSettings(on_gpus=lambda _pids: {}, free_on_gpus=lambda: next(free), host_memory=lambda: GIB)
    monkeypatch.setattr("llmux.server.cuda.suspend._FREED_WITHIN", 5.0)
    await resume(freed, two, Devices(taken={"GPU-1": 2 * GIB}))
    assert await all_count(driver, two) == [True] * 2


ONE, OTHER = (f"8f4022ba-e0cb-1298-286e-225c953a7fe{digit}" for digit in "01")
HERE = (Gpu(f"GPU-{ONE}", "H100"), Gpu(f"GPU-{OTHER}", "H100"))


@pytest.fixture
async def two_of_two_gpus(driver):
    """Give two processes on the first of two GPUs."""
    driver.directory.joinpath("gpus").write_text(f"{ONE}\n{OTHER}\n".replace("-", ""))
    return [await asyncio.to_thread(driver.start) for _ in range(2)]


def gpus(driver, pids):
    return {driver.directory.joinpath(f"{pid}.gpu").read_text() for pid in pids}


async def test_they_come_back_on_the_gpu_that_is_theirs_now_where_its_memory_is_free(driver, two_of_two_gpus):
    pids = two_of_two_gpus
    taken = {f"GPU-{ONE}": 2 * GIB}
    had = await suspend(settings(taken, host=4 * GIB, here=lambda: Devices(HERE, "0")), pids)
    assert had == Devices(HERE, "0", taken)
    full = settings(free={f"GPU-{ONE}": 0, f"GPU-{OTHER}": 3 * GIB}, here=lambda: Devices(HERE, "1"))
    await resume(full, pids, had)
    assert gpus(driver, pids) == {OTHER.replace("-", "")}
    assert await all_count(driver, pids) == [True] * 2


async def test_a_map_is_made_by_our_program_and_where_they_stay_there_is_none(driver, two_of_two_gpus):
    pids = two_of_two_gpus
    had = await suspend(settings(here=lambda: Devices(HERE, "0")), pids)
    with pytest.raises(ProgramMissing):
        await resume(settings(here=lambda: Devices(HERE, "0"), program=("/no/such",)), pids, had)
    await resume(settings(here=lambda: Devices(HERE, "1"), program=("/no/such",)), pids, had)
    assert await all_count(driver, pids) == [True] * 2


@pytest.mark.parametrize(
    ("now", "without_maps", "kind"),
    [
        (Devices(HERE, "0,1"), "", GpusDiffer),
        (Devices((Gpu(f"GPU-{ONE}", "A100"), HERE[1]), "0"), "", GpusDiffer),
        (Devices(HERE, "1"), "570.86", DeviceMapUnsupported),
    ],
)
async def test_what_cannot_come_back_is_not_tried(driver, two_of_two_gpus, now, without_maps, kind):
    pids = two_of_two_gpus
    had = await suspend(settings(here=lambda: Devices(HERE, "0")), pids)
    driver.done()
    with pytest.raises(kind) as refused:
        await resume(settings(here=lambda: now, without_maps=lambda: without_maps), pids, had)
    assert "Give the model" in refused.value.hint or "give the model" in refused.value.hint
    assert driver.done() == []
    await resume(settings(here=lambda: had), pids, had)
    assert await all_count(driver, pids) == [True] * 2


async def test_a_driver_that_is_gone_is_told_as_such(driver, two, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    with pytest.raises(CudaDriverMissing, match="libcuda") as missing:
        await suspend(settings(), two)
    assert "--gpus all" in missing.value.hint


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ("echo 'Could not lock on process ID 1: \"device not ready\"' >&2; exit 1", CudaLockTimedOut),
        ("echo 'Error initializing CUDA: \"initialization error\"'; exit 1", CudaFailed),
        ("exit 3", CudaFailed),
        ("echo bewildered", CudaFailed),
    ],
)
async def test_what_nvidias_program_says_is_understood(driver, two, tmp_path, says, kind):
    program = tmp_path / "cuda-checkpoint"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    with pytest.raises(kind):
        await suspend(settings(program=(str(program),)), two)
    assert await all_count(driver, two) == [True] * 2


async def test_a_program_that_is_no_program(two):
    with pytest.raises(ProgramMissing):
        await suspend(settings(program=("/no/such",)), two)


def test_the_configured_program_is_used_where_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_of(None) == OURS
    assert program_of("/no/such") == OURS
    tmp_path.joinpath("cuda-checkpoint").touch(0o755)
    assert program_of(None) == (str(tmp_path / "cuda-checkpoint"),)


async def test_users_of_the_driver_are_found_in_a_tree(driver, two):
    found = await asyncio.to_thread(users, os.getpid())
    assert set(two) <= set(found)
    assert os.getpid() not in found
