"""PID 1 of a model's sandbox: makes the namespaces, spawns, reaps, reports, and takes everything with it when it goes.

Run by file, as `python -I -S -X utf8 _init.py PLAN`, so it needs the standard library only and stays small. PLAN is a
JSON object: `shm` and `tmp` (booleans: a private tmpfs there) and `keep` (directories that stay reachable even where a
tmpfs covers them).

It is spoken to in JSON lines. On stdin:

    {"do": "spawn", "id": 1, "argv": [...], "env": {...}, "cwd": "/", "log": "/x.log",
     "filter": "<hex of the seccomp program, or empty>", "last_pid": 999 or null}
    {"do": "signal", "pid": 1000, "number": 15, "group": false}
    {"do": "clear"}      kills every other process of the namespace and reaps them before the next order is read

On stdout, ids being those inside the sandbox except `ready`'s, which is the init's own as its maker sees it:

    {"event": "ready", "pid": 4711}           {"event": "failed", "step": "...", "error": "..."}
    {"event": "spawned", "id": 1, "pid": 1000} {"event": "exited", "pid": 1000, "code": -9}
    {"event": "not_spawned", "id": 1, "program": "vllm", "error": "..."}   {"event": "refused", "error": "..."}

`exited` comes for every child, adopted orphans and restored trees included. End of file on stdin means that llmux is
gone, whatever killed it: the init exits, and the kernel kills all that is left in a PID namespace whose init has exited
(pid_namespaces(7)). PR_SET_PDEATHSIG is the second line of the same defence.
"""

# Plain os calls: pathlib and what it imports would stay resident in every sandbox.
# ruff: noqa: PTH103, PTH115, PTH123

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

# linux/sched.h, sys/mount.h, linux/prctl.h, linux/seccomp.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWPID = 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_HARDENED = _MS_NOSUID | _MS_NODEV
_SHM = "/dev/shm"  # noqa: S108 - the place itself
_TMP = "/tmp"  # noqa: S108 - the place itself
_LAST_PID = "/proc/sys/kernel/ns_last_pid"
_LONGEST_LINE = 16 << 20
_NOT_EXECUTED = 127

_libc = ctypes.CDLL(None, use_errno=True)


class StepFailed(Exception):
    """A step of making the sandbox was refused."""

    def __init__(self, step: str, error: OSError | ValueError) -> None:
        super().__init__(step, error)
        self.step = step
        self.error = error


class Plan(NamedTuple):
    """What the sandbox has of its own, and what it must not lose by that."""

    shm: bool
    tmp: bool
    keep: list[str]


class Order(NamedTuple):
    """A process to be spawned."""

    id: int
    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: str
    filter: str
    last_pid: int | None


def main() -> NoReturn:
    """Unshare, then become two: the launcher, which waits, and the init of the new namespaces."""
    plan = Plan(**json.loads(sys.argv[1]))
    try:
        _die_with_parent()
        with _step("unshare the PID and mount namespaces"):
            _unshare()
            init = os.fork()
        if init:
            _wait_for(init)
        outer_pid = _prepare(plan)
    except StepFailed as failed:
        _tell(event="failed", step=failed.step, error=str(failed.error))
        os._exit(1)
    _tell(event="ready", pid=outer_pid)
    _serve()


def _wait_for(init: int) -> NoReturn:
    # The pipes must be the init's alone: their ends are how llmux and the init notice each other's death.
    os.close(0)
    os.close(1)
    os.waitpid(init, 0)
    os._exit(0)


def _prepare(plan: Plan) -> int:
    """Make the mounts; return this process's id in the namespace of its maker."""
    _die_with_parent()
    outer_pid = int(os.readlink("/proc/self"))  # the outer /proc names us by the outer id
    os.chdir("/")
    with _step("make the mounts private"):
        _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    with _step("mount /proc"):
        _mount("proc", "/proc", "proc", _HARDENED | _MS_NOEXEC)
    covered = [_SHM] * plan.shm + [_TMP] * plan.tmp
    with _step("take hold of what must stay reachable"):
        kept = [(path, _hold(path)) for path in _hidden(plan.keep, covered)]
    for path in covered:
        with _step(f"mount {path}"):
            _mount("tmpfs", path, "tmpfs", _HARDENED, f"mode=1777,size={_tmpfs_size(path)}")
    for path, fd in kept:
        with _step(f"keep {path}"):
            _keep(path, fd)
    return outer_pid


def _hidden(keep: list[str], covered: list[str]) -> list[str]:
    """Return the directories of `keep` that a tmpfs is about to cover."""
    tops = tuple(f"{os.path.realpath(path)}/" for path in covered)
    return [path for path in map(os.path.realpath, keep) if path.startswith(tops)]


def _hold(path: str) -> int:
    """Open a directory, made first where it is missing: made later it would be made outside the sandbox only."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    return os.open(path, os.O_PATH)


def _keep(path: str, fd: int) -> None:
    os.makedirs(path, mode=0o755, exist_ok=True)
    _mount(f"/proc/self/fd/{fd}", path, "", _MS_BIND | _MS_REC)
    os.close(fd)


def _tmpfs_size(path: str) -> int:
    """Return bytes: half of the memory, the kernel's own default, or the size of the /dev/shm it covers if that is larger.

    Docker's 64 MiB of /dev/shm is too small for many engines.
    """
    there = os.statvfs(path)
    half_of_memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return max(there.f_blocks * there.f_frsize if path == _SHM else 0, half_of_memory)


def _serve() -> NoReturn:
    """Answer orders and reap until stdin ends."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    pending = b""
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap()
        if 0 in ready:
            pending = _read_orders(pending)


def _read_orders(pending: bytes) -> bytes:
    """Carry out the whole lines that have come; return the unfinished one."""
    data = os.read(0, 1 << 16)
    if not data:
        os._exit(0)
    *lines, rest = (pending + data).split(b"\n")
    for line in lines:
        _obey(line)
    if len(rest) > _LONGEST_LINE:
        _tell(event="refused", error=f"a line longer than {_LONGEST_LINE} bytes")
        return b""
    return rest


def _obey(line: bytes) -> None:
    try:
        message = json.loads(line)
        _ORDERS[message.pop("do")](**message)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
        _tell(event="refused", error=f"{type(error).__name__}: {error}")


def _signal(pid: int, number: int, *, group: bool) -> None:
    # Who has exited already needs no signal; its report is on the way.
    with contextlib.suppress(ProcessLookupError):
        os.kill(-pid if group else pid, number)


def _clear() -> None:
    """Kill all that runs here, and wait for its end: whoever comes next finds no file or socket in use."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    _reap(options=0)


def _spawn(**message: Any) -> None:
    """Fork and exec; the report pipe closes unread at a successful exec."""
    order = Order(**message)
    try:
        if order.last_pid is not None:
            _set_last_pid(order.last_pid)
        report_read, report_write = os.pipe()
        pid = os.fork()
    except OSError as error:
        _tell(event="not_spawned", id=order.id, program=order.argv[0], error=str(error))
        return
    if pid == 0:
        _become(order, report_write)
    os.close(report_write)
    failure = os.read(report_read, 4096)
    os.close(report_read)
    if failure:
        os.waitpid(pid, 0)
        _tell(
            event="not_spawned", id=order.id, program=order.argv[0], error=failure.decode("utf-8", "replace")
        )
    else:
        _tell(event="spawned", id=order.id, pid=pid)


def _become(order: Order, report: int) -> NoReturn:
    """Turn this fork into the ordered program. Every descriptor of the init is close-on-exec (PEP 446)."""
    try:
        os.setsid()
        _default_signals()
        os.umask(0o022)
        os.dup2(os.open("/dev/null", os.O_RDWR), 0)
        log = _open_log(order.log)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(order.cwd)
        if order.filter:
            _install_filter(bytes.fromhex(order.filter))
        os.execvpe(order.argv[0], order.argv, order.env)  # noqa: S606 - an argument list, no shell
    except BaseException as error:  # noqa: BLE001 - this fork must never return into the init's loop
        os.write(report, _reason(error).encode("utf-8", "replace")[:4096])
    os._exit(_NOT_EXECUTED)


def _open_log(path: str) -> int:
    """Open a log to append to; nothing but a regular file with one name, whoever else may write to its directory."""
    # Append only, for one thing because CRIU then stores no size for it, and a log that grew still restores.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NOCTTY
    log = os.open(path, flags | os.O_NONBLOCK, 0o640)  # the open of a FIFO would wait for a reader
    found = os.fstat(log)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise OSError(errno.EINVAL, "the log is no regular file with this one name", path)
    os.set_blocking(log, True)
    return log


def _reason(error: BaseException) -> str:
    # execvpe gives bytes, the last place of PATH that it tried, which misleads.
    if isinstance(error, OSError) and not isinstance(error.filename, str):
        return error.strerror or str(error)
    return str(error)


def _reap(options: int = os.WNOHANG) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, options)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(event="exited", pid=pid, code=os.waitstatus_to_exitcode(status))


def _default_signals() -> None:
    """Undo what Python ignores and what a parent may have ignored: exec keeps ignored signals ignored."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_DFL)
        except OSError as error:
            if error.errno != errno.EINVAL:  # signals that the C library keeps for itself
                raise
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _set_last_pid(last_pid: int) -> None:
    with open(_LAST_PID, "w", encoding="ascii") as file:
        file.write(str(last_pid))


def _install_filter(program: bytes) -> None:
    """Install a seccomp filter; CAP_SYS_ADMIN makes no_new_privs unnecessary, which setuid helpers would feel."""

    class SockFprog(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    argument = SockFprog(len(program) // 8, program)
    _checked(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(argument), 0, 0))


def _die_with_parent() -> None:
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def _unshare() -> None:
    _checked(_libc.unshare(_CLONE_NEWPID | _CLONE_NEWNS))


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    text = [os.fsencode(each) or None for each in (source, target, kind)]
    _checked(_libc.mount(*text, ctypes.c_ulong(flags), data.encode() or None))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise StepFailed(name, error) from error


def _tell(**message: object) -> None:
    """Write one report line; if nobody reads any more, llmux is gone."""
    line = json.dumps(message).encode() + b"\n"
    try:
        while line:
            line = line[os.write(1, line) :]
    except BrokenPipeError:
        os._exit(0)


_ORDERS: dict[str, Callable[..., None]] = {"spawn": _spawn, "signal": _signal, "clear": _clear}

if __name__ == "__main__":
    main()
