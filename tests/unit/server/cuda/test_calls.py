"""One process makes all calls of a sleep or a wake, and goes with a call that hangs; real processes, with the stand-in for NVIDIA's driver."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from llmux.server._effect_errors import ProgramMissing, TookTooLong
from llmux.server.cuda import _calls
from llmux.server.cuda._calls import OURS, Said, calling


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """Give our program under a shell that notes its id, and these notes."""
    notes = tmp_path / "started"
    notes.touch()
    argv = ("sh", "-c", f'echo $$ >> {notes}; exec "$@"', "sh", *OURS)
    monkeypatch.setattr(_calls, "OURS", argv)
    return argv, lambda: [int(line) for line in notes.read_text().split()]


def runs(pid):
    return Path(f"/proc/{pid}").exists()


def words(pid, *more):
    return (*(more or ("--get-state",)), "--pid", str(pid))


async def test_one_process_makes_all_calls_and_ends_with_them(driver, ours):
    program, started = ours
    pid = await asyncio.to_thread(driver.start)
    async with calling(program) as call:
        assert started() == []
        assert await call(words(pid), 20) == Said(0, "running")
        assert await call(words(pid, "--action", "lock"), 20) == Said(0, "")
        refused = await call(words(pid, "--action", "restore"), 20)
        assert (refused.code, "CUDA_ERROR_ILLEGAL_STATE" in refused.text) == (1, True)
        assert (await call(words(pid, "--action", "fly"), 20)).code == 2
        assert await call(words(pid), 20) == Said(0, "locked")
    (process,) = started()
    assert not runs(process)


async def test_a_call_that_hangs_takes_its_process_along_and_the_next_has_another(driver, ours):
    program, started = ours
    pid = await asyncio.to_thread(driver.start)
    async with calling(program) as call:
        await call(words(pid), 20)
        delay = driver.tell(pid, "delay-lock", "60000")
        with pytest.raises(TookTooLong, match="llmux-cuda-checkpoint did not finish within"):
            await call(words(pid, "--action", "lock"), 0.3)
        (hung,) = started()
        assert not runs(hung)
        delay.unlink()
        assert await call(words(pid), 20) == Said(0, "running")
        assert len(started()) == 2


async def test_a_process_that_a_call_kills_is_told_as_such(driver, ours):
    program, started = ours
    pid = await asyncio.to_thread(driver.start)
    async with calling(program) as call:
        await call(words(pid), 20)
        driver.tell(pid, "delay-lock", "60000")
        asyncio.get_running_loop().call_later(0.2, lambda: os.kill(*started(), 9))
        assert await call(words(pid, "--action", "lock"), 20) == Said(-9, "it ended with -9")


async def test_who_is_cancelled_leaves_no_process(driver, ours):
    program, started = ours
    pid = await asyncio.to_thread(driver.start)
    driver.tell(pid, "delay-lock", "60000")

    async with calling(program) as call:
        asked = asyncio.ensure_future(call(words(pid, "--action", "lock"), 60))  # noqa: TID251 - cancelled below
        async with asyncio.timeout(30):
            while not started():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    (process,) = started()
    async with asyncio.timeout(30):
        while runs(process):  # noqa: ASYNC110 - killed, where it was still being started, and not waited for
            await asyncio.sleep(0.01)


async def test_nvidias_program_is_run_for_each_call():
    async with calling((sys.executable, "-c", "import sys; print(*sys.argv[1:]); sys.exit(3)")) as call:
        assert await call(("--get-state",), 20) == Said(3, "--get-state")
    async with calling((sys.executable, "-c", "raise SystemExit(4)")) as call:
        assert await call((), 20) == Said(4, "it ended with 4")
    async with calling(("/no/such",)) as call:
        with pytest.raises(ProgramMissing):
            await call((), 20)
