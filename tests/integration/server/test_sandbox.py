"""Real namespaces, on this machine, as root."""

# Small local files: waiting for them is no harm to a test.
# ruff: noqa: ASYNC110, ASYNC221, ASYNC240

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess  # noqa: TID251 - programs beside llmux's own
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from llmux.server import _open_files
from llmux.server._effect_errors import NotStarted, SandboxEnded, TookTooLong
from llmux.server._process import Conversation
from llmux.server._sandbox import INIT, Child, Command, Isolation, Sandbox

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[3]
IO_URING_SETUP = (
    "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.syscall(425, 1, None); print(ctypes.get_errno())"
)
ENOSYS = "38"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.create(Isolation()) as made:
        yield made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "engine.log"


async def start(sandbox: Sandbox, log: Path, code: str, **env: str) -> Child:
    return await sandbox.start_engine(
        Command((sys.executable, "-c", code), {"PATH": os.defpath, **env}, "/", log)
    )


async def test_engines_have_the_limit_of_open_files_that_llmux_was_given(
    monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    monkeypatch.setattr(_open_files, "_given", (700, 800))
    monkeypatch.setattr(_open_files, "give_back", lambda _pid: None)  # as where llmux comes to that too late
    async with await Sandbox.create(Isolation()) as sandbox:
        assert await sandbox.run(("sh", "-c", "ulimit -Sn; ulimit -Hn"), log=log, timeout=60) == 0
    assert log.read_text().split() == ["700", "800"]


async def told(sandbox: Sandbox, log: Path, code: str) -> list[str]:
    """Run Python code as an engine and return the lines it prints."""
    child = await start(sandbox, log, code)
    assert await child.wait() == 0, log.read_text()
    return log.read_text().splitlines()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.02)


def processes_named(mark: str) -> list[int]:
    """Return the ids of processes that have `mark` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "cmdline").read_text().split("\0"):
                found.append(int(entry.name))
    return found


async def test_the_engine_has_ids_from_1000_up_and_sees_nobody_else(sandbox, log):
    lines = await told(
        sandbox,
        log,
        "import os; print(os.getpid(), os.getsid(0)); print(*sorted(p for p in os.listdir('/proc') if p.isdigit()))",
    )
    assert lines == ["1000 1000", "1 1000"]


async def test_the_engine_inherits_three_descriptors_its_own_environment_and_its_directory(sandbox, log):
    code = "import os; print(*[os.readlink(f'/proc/self/fd/{n}') for n in range(3)]); os.dup(0) == 3 and print('no more'); print(sorted(os.environ), os.getcwd())"
    child = await sandbox.start_engine(
        Command((sys.executable, "-c", code), {"LC_ALL": "C.UTF-8", "B": "2"}, "/usr", log)
    )
    assert await child.wait() == 0
    assert log.read_text().splitlines() == [f"/dev/null {log} {log}", "no more", "['B', 'LC_ALL'] /usr"]


async def test_the_log_is_appended_to_and_hidden_from_others(sandbox, log):
    assert await sandbox.run(["echo", "one"], log=log, timeout=60) == 0
    assert await sandbox.run(["sh", "-c", "echo two >&2"], log=log, timeout=60) == 0
    assert log.read_text() == "one\ntwo\n"
    assert log.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("kind", ["FIFO", "symbolic link", "hard link", "directory"])
async def test_a_log_that_somebody_has_laid_out_as_a_trap_is_refused(sandbox, log, kind, tmp_path):
    prey = tmp_path / "prey"
    prey.write_text("untouched")
    make = {
        "FIFO": lambda: os.mkfifo(log),
        "symbolic link": lambda: log.symlink_to(prey),
        "hard link": lambda: log.hardlink_to(prey),
        "directory": log.mkdir,
    }
    make[kind]()
    async with asyncio.timeout(30):
        with pytest.raises(NotStarted):
            await start(sandbox, log, "print('gotcha')")
    assert prey.read_text() == "untouched"


async def test_clearing_ends_everything_but_the_init_before_anything_else_is_run(sandbox, log):
    spawner = (
        "import os, time; os.setsid() if os.fork() == 0 else None; print('up', flush=True); time.sleep(600)"
    )
    child = await start(sandbox, log, spawner)
    await until(lambda: log.read_text().count("up") == 2)
    sandbox.clear()
    seen = log.with_name("seen")
    count = "import os; print(*(p for p in os.listdir('/proc') if p.isdigit() and p not in {'1', str(os.getpid())}))"
    assert await sandbox.run([sys.executable, "-c", count], log=seen, timeout=60) == 0
    assert seen.read_text().strip() == ""
    assert await child.wait() == -signal.SIGKILL


async def test_io_uring_does_not_exist_for_the_engine_only(sandbox, log):
    assert await told(sandbox, log, IO_URING_SETUP) == [ENOSYS]
    log.unlink()
    assert await sandbox.run([sys.executable, "-c", IO_URING_SETUP], log=log, timeout=60) == 0
    assert log.read_text().strip() != ENOSYS


async def test_a_filtered_engine_may_still_gain_rights(sandbox, log):
    assert "NoNewPrivs:\t0" in await told(sandbox, log, "print(open('/proc/self/status').read())")


async def test_shared_memory_is_the_sandboxs_own(sandbox, log):
    name = f"llmux-test-{uuid.uuid4()}"
    assert await told(
        sandbox, log, f"import os; print(os.listdir('/dev/shm')); open('/dev/shm/{name}', 'w')"
    ) == ["[]"]
    assert not Path("/dev/shm", name).exists()


async def test_a_private_tmp_leaves_the_checkpoints_below_it_reachable(log):
    place = Path("/tmp", f"llmux-test-{uuid.uuid4()}")
    kept = place / "checkpoints"  # not made yet, as at the first start of llmux
    python = Path(sys.prefix)  # in a checkout below /tmp
    try:
        async with await Sandbox.create(Isolation(tmp=True), keep=[kept, log.parent, python]) as sandbox:
            await told(
                sandbox,
                log,
                f"import os; print(os.listdir('/tmp')); open('{kept}/written', 'w'); open('/tmp/hidden', 'w')",
            )
        assert (kept / "written").exists()
        assert place.name in log.read_text()
        assert not Path("/tmp/hidden").exists()
        assert stat_mode(kept) == 0o700
    finally:
        subprocess.run(["rm", "-rf", place], check=True)


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_its_mounts_are_its_own(sandbox):
    for kind in ("mnt", "pid"):
        assert (
            Path(f"/proc/{sandbox.init_pid}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink()
        )
    propagation = [
        line.split(" - ")[0].split()[6:]
        for line in Path(f"/proc/{sandbox.init_pid}/mountinfo").read_text().splitlines()
    ]
    assert all(fields == [] for fields in propagation)  # neither shared nor a slave: proc_pid_mountinfo(5)


async def test_an_exit_code_and_a_signal_are_told(sandbox, log):
    assert await (await start(sandbox, log, "raise SystemExit(7)")).wait() == 7
    assert await (await start(sandbox, log, "import os; os.abort()")).wait() == -signal.SIGABRT


async def test_terminate_asks_first_and_insists_then(sandbox, log):
    polite = await start(
        sandbox,
        log,
        "import signal, sys; signal.signal(15, lambda *_: sys.exit(3)); print('up', flush=True); signal.pause()",
    )
    await until(lambda: "up" in log.read_text())
    assert await polite.terminate(5) == 3
    deaf = await start(
        sandbox,
        log,
        "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause(); signal.pause()",
    )
    await until(lambda: "deaf" in log.read_text())
    assert await deaf.terminate(0.1) == -signal.SIGKILL


async def test_a_program_that_is_not_there_is_named(sandbox, log):
    with pytest.raises(
        NotStarted,
        match=r"no-such-program cannot be started in its sandbox: it was not found on PATH \(/.*\)\. Install it",
    ):
        await sandbox.run(["no-such-program"], log=log, timeout=60)
    with pytest.raises(NotStarted, match=r"No such file or directory: .*/missing/x\.log"):
        await sandbox.run(["true"], log=log.parent / "missing" / "x.log", timeout=60)


async def test_what_takes_too_long_is_ended_with_all_it_started(sandbox, log):
    mark = f"86400.{uuid.uuid4().int}"
    with pytest.raises(TookTooLong, match=r"sh did not finish within 0\.3 s"):
        await sandbox.run(["sh", "-c", f"sleep {mark} & sleep {mark}"], log=log, timeout=0.3)
    await until(lambda: not processes_named(mark))


async def test_a_cancelled_run_leaves_nothing_running(sandbox, log):
    mark = f"86400.{uuid.uuid4().int}"
    running = asyncio.gather(sandbox.run(["sleep", mark], log=log, timeout=60))
    await until(lambda: bool(processes_named(mark)))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not processes_named(mark))


async def test_later_ids_lie_above_the_last_one_given(sandbox, log):
    assert await sandbox.run(["sh", "-c", "echo $$"], log=log, timeout=60, last_pid=70000) == 0
    assert int(log.read_text()) > 70000


async def test_orphans_are_reaped(sandbox, log):
    code = "import subprocess, time; subprocess.run(['sh', '-c', 'for i in 1 2 3; do (sleep 0.1 &) ; done']); print('up', flush=True); time.sleep(60)"
    await start(sandbox, log, code)
    await until(lambda: "up" in log.read_text())
    await asyncio.sleep(0.4)
    log.unlink()
    await sandbox.run(["sh", "-c", "cat /proc/[0-9]*/stat"], log=log, timeout=60)
    states = [line.rsplit(")", 1)[1].split()[0] for line in log.read_text().splitlines()]
    assert len(states) >= 3  # the init, the engine, cat
    assert "Z" not in states


async def test_a_child_that_somebody_else_made_can_be_adopted_alive_or_dead(sandbox, log):
    # Its parent ends at once, so it becomes the init's child as a restored tree is from the start.
    await sandbox.run(["sh", "-c", "(sleep 0.3; exit 5) & echo $!"], log=log, timeout=60)
    pid = int(log.read_text())
    assert await sandbox.adopt(pid).wait() == 5
    assert await sandbox.adopt(pid).wait() == 5
    assert sandbox.adopt(pid).returncode == 5


async def test_closing_ends_everything_even_what_hid_in_a_session_of_its_own(log):
    mark = f"86400.{uuid.uuid4().int}"
    sandbox = await Sandbox.create(Isolation())
    child = await start(
        sandbox,
        log,
        f"import subprocess; subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM; sleep {mark}']).wait()",
    )
    await until(lambda: bool(processes_named(mark)))
    await sandbox.close()
    assert not processes_named(mark)
    assert await child.wait() == -signal.SIGKILL
    await sandbox.close()
    with pytest.raises(SandboxEnded):
        await sandbox.run(["true"], log=log, timeout=60)


async def test_a_sandbox_whose_init_is_killed_says_so(sandbox, log):
    child = await start(sandbox, log, "import time; time.sleep(60)")
    os.kill(sandbox.init_pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    await asyncio.wait_for(asyncio.shield(sandbox.ended), 30)


MAKER = """
import asyncio, signal, sys
from pathlib import Path
from llmux.server._sandbox import Command, Isolation, Sandbox

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background of a script is born deaf to it

async def main():
    sandbox = await Sandbox.create(Isolation())
    command = ("sh", "-c", f"setsid sleep {sys.argv[2]} & exec sleep {sys.argv[2]}")
    await sandbox.start_engine(Command(command, {"PATH": "/bin:/usr/bin"}, "/", Path(sys.argv[1])))
    print("made", flush=True)
    await asyncio.sleep(86400)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_kills_llmux_takes_the_engines_with_it(log, number):
    mark = f"86400.{uuid.uuid4().int}"
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, log, mark],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert maker.stdout
    with maker:
        assert maker.stdout.readline() == b"made\n"
        deadline = time.monotonic() + 10
        while len(processes_named(mark)) < 2:
            assert time.monotonic() < deadline
        maker.send_signal(number)
    while processes_named(mark):
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_the_init_survives_a_garbage_line(log):
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    argv = [*INIT, '{"shm": false, "tmp": false, "keep": []}']
    conversation = await Conversation.start(argv, on_line=heard.put_nowait)
    try:
        assert b'"ready"' in await heard.get()
        for garbage in (
            b"",
            b"{",
            b"[]",
            b'{"do": "dance"}',
            b'{"do": "spawn"}',
            b'{"do": "signal", "pid": "x"}',
            b"\xff",
        ):
            conversation.tell(garbage)
            assert b'"refused"' in await asyncio.wait_for(heard.get(), 30)
        order = {"argv": ["true"], "env": {"PATH": "/bin"}, "cwd": "/", "log": str(log), "filter": ""}
        conversation.tell(json.dumps({"do": "spawn", "id": 9, "last_pid": None, **order}).encode())
        assert b'"spawned", "id": 9' in await asyncio.wait_for(heard.get(), 30)
    finally:
        await conversation.end(5)
    assert await conversation.ended == 0


async def test_a_machine_without_rights_is_told_what_to_do(tmp_path):
    script = "import asyncio; from llmux.server._sandbox import *; asyncio.run(Sandbox.create(Isolation()))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    tried = await asyncio.to_thread(
        subprocess.run,
        ["setpriv", "--bounding-set", "-sys_admin", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=ROOT,
    )
    assert (
        "SandboxRefused: no sandbox for the engine: unshare the PID and mount namespaces: [Errno 1]"
        in tried.stderr
    )
    assert "--cap-add ALL" in tried.stderr
