"""Does something in a child process, and at one of its steps kills it, makes it fail, or does something behind its back."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from llmux.criu_images import _build, _journal
from llmux.criu_images.errors import CriuImagesError

CHANGES = frozenset({
    "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.remove", "os.rename", "os.chown", "os.chmod", "os.setxattr",
    "os.removexattr", "os.utime", "os.truncate", "fcntl.ioctl", "fcntl.flock",
})  # fmt: skip
"""Audit events that come just before the file system changes; `open` for writing is another."""
KILLED = 9
DONE = 0
FAILED = 3


def in_child(body: Callable[[], object], at: Callable[[int], None]) -> int:
    """Run `body` in a child and call `at` with the number of each step just before it is done; return the child's exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        at(count)

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_CREAT | os.O_WRONLY)
        )
        if writes or event in CHANGES:
            step()

    # These two announce nothing themselves.
    real_write, real_mkfifo = os.write, os.mkfifo

    def write(fd: int, data: bytes) -> int:
        half = len(data) // 2
        real_write(fd, data[:half])
        step()
        return half + real_write(fd, data[half:])

    def mkfifo(*arguments: object, **options: object) -> None:
        step()
        real_mkfifo(*arguments, **options)

    _journal.os.write, _build.os.mkfifo = write, mkfifo
    sys.addaudithook(on_event)
    try:
        body()
    except CriuImagesError:
        os._exit(FAILED)
    except BaseException:  # noqa: BLE001 - whatever it is, the parent must not go on as two
        traceback.print_exc()
        os._exit(1)
    os._exit(DONE)


def kill_at(number: int) -> Callable[[int], None]:
    return lambda step: os._exit(KILLED) if step == number else None


def fail_at(number: int) -> Callable[[int], None]:
    def at(step: int) -> None:
        if step == number:
            raise OSError(5, "a disk that fails")

    return at
