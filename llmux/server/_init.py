"""PID 1 of a model's sandbox: makes the namespaces, spawns, reaps, reports, and takes everything with it when it goes.

Its one argument is a JSON object with the fields of `Plan`. It needs the standard library only and stays small.

It is spoken to in JSON lines. On stdin:

    {"do": "spawn", "id": 1, "argv": [...], "env": {...}, "cwd": "/", "log": "/x.log",
     "filter": "<hex of the seccomp program, or empty>", "last_pid": 999 or null}
    {"do": "signal", "pid": 1000, "number": 15, "group": false}
    {"do": "clear"}      kills every other process of the namespace and reaps them before the next order is read
    {"do": "end"}        exits, and takes all with it

On stdout, ids being those inside the sandbox except `ready`'s, which is the init's own as its maker sees it:

    {"event": "ready", "pid": 4711}           {"event": "failed", "step": "...", "error": "..."}
    {"event": "spawned", "id": 1, "pid": 1000} {"event": "exited", "pid": 1000, "code": -9}
    {"event": "not_spawned", "id": 1, "program": "vllm", "error": "..."}   {"event": "refused", "error": "..."}

`exited` comes for every child, adopted orphans and restored trees included. End of file on stdin means that llmux is
gone, whatever killed it: the init exits, and the kernel kills all that is left in a PID namespace whose init has exited
(pid_namespaces(7)). PR_SET_PDEATHSIG is the second line of the same defence. Where the plan says so the init first
lingers, so that the next llmux can take the engine over (`_init_line.py`).
"""

# Plain os calls: pathlib and what it imports would stay resident in every sandbox.
# ruff: noqa: PTH123

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import signal
import stat
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from llmux.server._init_line import Line, forget_stderr
from llmux.server._init_mounts import Plan, StepFailed, checked, die_with_parent, libc, prepare, step, unshare

# linux/prctl.h, linux/seccomp.h
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_LAST_PID = "/proc/sys/kernel/ns_last_pid"
_NOT_EXECUTED = 127

_line = Line()


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
    if plan.open_files:  # first of all: whatever is forked from here on has it
        resource.setrlimit(resource.RLIMIT_NOFILE, (plan.open_files[0], plan.open_files[1]))
    inherited = [fd for fd in (plan.listener, plan.berth) if fd is not None]
    for fd in inherited:
        os.set_inheritable(fd, False)
    try:
        if plan.listener is None:
            die_with_parent()
        with step("unshare the PID and mount namespaces"):
            unshare()
            init = os.fork()
        if init:
            _wait_for(init, [0, 1, *inherited])
        outer_pid = prepare(plan)
    except StepFailed as failed:
        _line.tell(event="failed", step=failed.step, error=str(failed.error))
        os._exit(1)
    if plan.listener is not None:
        _line.let_linger(plan.linger, plan.listener, event="ready", pid=outer_pid)
    _line.tell(event="ready", pid=outer_pid)
    _serve()


def _wait_for(init: int, inherited: list[int]) -> NoReturn:
    # The pipes must be the init's alone: their ends are how llmux and the init notice each other's death.
    for fd in inherited:
        os.close(fd)
    forget_stderr()
    os.waitpid(init, 0)
    os._exit(0)


def _serve() -> NoReturn:
    """Answer orders and reap until llmux is gone."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = _ready({wake_read, *_line.sources}, _line.patience)
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap()
        for order in _line.hear(ready):
            _obey(order)


def _ready(sources: set[int], patience: float | None) -> set[int]:
    poll = select.poll()
    for fd in sources:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(None if patience is None else patience * 1000)}


def _obey(line: bytes) -> None:
    try:
        message = json.loads(line)
        _ORDERS[message.pop("do")](**message)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
        _line.tell(event="refused", error=f"{type(error).__name__}: {error}")


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
        _line.tell(event="not_spawned", id=order.id, program=order.argv[0], error=str(error))
        return
    if pid == 0:
        _become(order, report_write)
    os.close(report_write)
    failure = os.read(report_read, 4096)
    os.close(report_read)
    if failure:
        os.waitpid(pid, 0)
        _line.tell(
            event="not_spawned", id=order.id, program=order.argv[0], error=failure.decode("utf-8", "replace")
        )
    else:
        _line.tell(event="spawned", id=order.id, pid=pid)


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
        _line.tell(event="exited", pid=pid, code=os.waitstatus_to_exitcode(status))


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
    checked(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(argument), 0, 0))


def _end() -> NoReturn:
    os._exit(0)


_ORDERS: dict[str, Callable[..., None]] = {
    "spawn": _spawn,
    "signal": _signal,
    "clear": _clear,
    "end": _end,
}
