"""What a sandbox's init does before it serves: the namespaces, and the mounts in them. The standard library only."""

# Plain os calls: pathlib and what it imports would stay resident in every sandbox.
# ruff: noqa: PTH103, PTH115

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from typing import NamedTuple

# linux/sched.h, sys/mount.h, linux/prctl.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWPID = 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1

_HARDENED = _MS_NOSUID | _MS_NODEV
_SHM = "/dev/shm"  # noqa: S108 - the place itself
_TMP = "/tmp"  # noqa: S108 - the place itself

libc = ctypes.CDLL(None, use_errno=True)


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
    linger: float = 0.0
    """Seconds that the sandbox outlasts an llmux that goes away without a word."""
    listener: int | None = None
    """The descriptor of a socket, bound, that the next llmux connects to; None where nothing lingers."""
    berth: int | None = None
    """The descriptor of its directory, whose lock it shares."""
    open_files: list[int] | None = None
    """The soft and the hard limit of files that all in there may have open; None: what the init was started with."""


def prepare(plan: Plan) -> int:
    """Make the mounts of a new init; return this process's id in the namespace of its maker."""
    die_with_parent()
    outer_pid = int(os.readlink("/proc/self"))  # the outer /proc names us by the outer id
    os.chdir("/")
    with step("make the mounts private"):
        _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    with step("mount /proc"):
        _mount("proc", "/proc", "proc", _HARDENED | _MS_NOEXEC)
    covered = [_SHM] * plan.shm + [_TMP] * plan.tmp
    with step("take hold of what must stay reachable"):
        kept = [(path, _hold(path)) for path in _hidden(plan.keep, covered)]
    for path in covered:
        with step(f"mount {path}"):
            _mount("tmpfs", path, "tmpfs", _HARDENED, f"mode=1777,size={_tmpfs_size(path)}")
    for path, fd in kept:
        with step(f"keep {path}"):
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


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends (PR_SET_PDEATHSIG, prctl(2))."""
    checked(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def unshare() -> None:
    """Leave the mount namespace, and the PID namespace for the children."""
    checked(libc.unshare(_CLONE_NEWPID | _CLONE_NEWNS))


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    text = [os.fsencode(each) or None for each in (source, target, kind)]
    checked(libc.mount(*text, ctypes.c_ulong(flags), data.encode() or None))


def checked(result: int) -> None:
    """Raise what a C function has set errno to, if it failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Name what is tried, for StepFailed."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise StepFailed(name, error) from error
