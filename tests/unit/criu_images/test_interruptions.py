"""A rebuild or an undo that is killed, or fails, at any of its steps: nothing of it stays that an undo does not take back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from manifests import raw
from steps import DONE, FAILED, KILLED, fail_at, in_child, kill_at
from worlds import World, regular

from llmux.criu_images._inventory import PathKind
from llmux.criu_images._linux import APPEND_ONLY
from llmux.criu_images._metadata import apply_flags, clear_flags
from llmux.criu_images._safefs import Tree

pytestmark = pytest.mark.demand("leftover-sandbox", "again")

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


@pytest.mark.root
class TestAsAnotherUser:
    """Who is not root rebuilds what is his, and gets a clear refusal of the rest, of which nothing stays."""

    USER = 12345

    @pytest.fixture
    def world(self) -> Iterator[World]:
        with tempfile.TemporaryDirectory() as base:
            made = World(Path(base))
            (made.there / "dir").mkdir(mode=0o2750)
            (made.there / "dir/file").write_text("his")
            for path in (Path(base), *Path(base).rglob("*")):
                os.chown(path, self.USER, self.USER)
            (made.there / "dir").chmod(0o2750)
            made.capture(regular("/dir/file", 3))
            yield made

    def as_user(self, world: World) -> int:
        for path in (*world.images.rglob("*"), world.images):
            os.chown(path, self.USER, self.USER)

        def body() -> None:
            os.setgroups([])
            os.setgid(self.USER)
            os.setuid(self.USER)
            world.rebuild()

        return in_child(body, lambda _: None)

    def test_what_is_his_is_rebuilt(self, world):
        assert self.as_user(world) == DONE
        assert shot(world.here) == shot(world.there)

    def test_of_what_is_not_his_nothing_stays(self, world):
        os.chown(world.there / "dir/file", 0, 0)
        (world.images / "llmux-manifest.json").unlink()
        world.capture(regular("/dir/file", 3))
        assert self.as_user(world) == FAILED
        assert shot(world.here) == {}
