"""A rebuild or an undo that is killed, or fails, at any of its steps: nothing of it stays that an undo does not take back."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from manifests import raw
from worlds import World, regular

from llmux.criu_images import _build, _journal
from llmux.criu_images._inventory import PathKind
from llmux.criu_images._linux import APPEND_ONLY
from llmux.criu_images._metadata import apply_flags, clear_flags
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import CriuImagesError

CHANGES = frozenset({
    "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.remove", "os.rename", "os.chown", "os.chmod", "os.setxattr",
    "os.removexattr", "os.utime", "os.truncate", "fcntl.ioctl", "fcntl.flock",
})  # fmt: skip
"""Audit events that come just before the file system changes; `open` for writing is another."""
KILLED = 9
DONE = 0
FAILED = 3
ROOT = os.geteuid() == 0


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    """Give a world with one of everything: links in two directories, a set-group-id directory, flags, attributes, and something there before."""
    made = World(tmp_path)
    shared = made.there / "shared"
    (shared / "deep").mkdir(parents=True)
    shared.chmod(0o2775)
    os.setxattr(shared, "user.note", b"x")
    (shared / "log").write_text("log")
    (made.there / "other").mkdir()
    (made.there / "other/name").hardlink_to(shared / "log")
    os.mkfifo(shared / "deep/pipe")
    (made.there / "link").symlink_to("shared")
    (made.there / "before").mkdir()
    (made.there / "before/new").write_text("new")
    (made.here / "before").mkdir()
    (made.here / "before/theirs").write_text("theirs")
    with flagged(shared / "log"):
        made.capture(
            regular("/shared/log", 3),
            regular("/other/name", 3),
            regular("/shared/deep/pipe", kind=PathKind.FIFO),
            regular("/link/s.sock", kind=PathKind.SOCKET),
            regular("/before/new", 3),
        )
    yield made
    with suppress(FileNotFoundError), flagged(made.here / "shared/log"):
        pass


class flagged:  # noqa: N801 - reads as what it makes of a file
    """Makes a file append-only for a while, where we may."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        self._change(apply_flags)

    def __exit__(self, *_: object) -> None:
        self._change(clear_flags)

    def _change(self, how: Callable[[int, int], None]) -> None:
        with Tree(self.path.parent) as tree, tree.open(raw(f"/{self.path.name}"), os.O_PATH) as fd:
            if ROOT:
                how(fd, APPEND_ONLY)


def shot(base: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in sorted(base.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(base))] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


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


def test_killed_at_any_step_it_is_undone(world):
    before = shot(world.here)
    number = 1
    while (code := in_child(world.rebuild, kill_at(number))) == KILLED:
        assert world.undo().left == [], f"killed at step {number}"
        assert shot(world.here) == before, f"killed at step {number}"
        number += 1
    assert code == DONE
    assert number > 60


def test_killed_at_any_step_it_can_be_done_again(world):
    whole = shot(world.there)
    before = shot(world.here)
    number = 1
    while in_child(world.rebuild, kill_at(number)) == KILLED:
        world.rebuild()
        rebuilt = shot(world.here)
        assert {path: rebuilt[path] for path in whole} == whole, f"killed at step {number}"
        assert world.undo().left == [], f"killed at step {number}"
        assert shot(world.here) == before, f"killed at step {number}"
        number += 1


def test_failing_at_any_step_it_leaves_nothing(world):
    before = shot(world.here)
    failures = 0
    for number in range(1, 100):
        code = in_child(world.rebuild, fail_at(number))
        assert code in {FAILED, DONE}, f"failed at step {number}"
        if code == DONE:  # a step that may fail, such as noting what is in memory
            world.undo()
        failures += code == FAILED
        assert shot(world.here) == before, f"failed at step {number}"
    assert failures > 40


def test_an_undo_killed_at_any_step_is_gone_on_with(world):
    before = shot(world.here)
    number = 1
    while True:
        world.rebuild()
        code = in_child(world.undo, kill_at(number))
        assert code in {KILLED, DONE}
        if code == DONE:
            break
        assert world.undo().left == [], f"killed at step {number}"
        assert shot(world.here) == before, f"killed at step {number}"
        number += 1
    assert number > 10
