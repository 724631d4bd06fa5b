"""What a capture carries by its policy, what it says of itself, and what it leaves when it fails."""

from __future__ import annotations

import errno
import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
from worlds import regular

from llmux.criu_images import _capture, capture, read_manifest, verify
from llmux.criu_images._inventory import PathKind
from llmux.criu_images._policy_parse import parse_policy
from llmux.criu_images.errors import (
    CaptureFailed,
    ExitCode,
    ImagesUnwritable,
    ManifestMissing,
    ManifestVersion,
    NotADump,
    RebuildRefused,
)
from llmux.criu_images.manifest import MANIFEST_NAME, Manifest, Origin, seal_of

FAR_FUTURE = 2**62
"""A container that started then has all its files from its image."""


@pytest.fixture
def dump(maker, tmp_path):
    """Give the images of a tree that has a log and a library open."""
    (tmp_path / "log").write_bytes(b"logged" * 1000)
    (tmp_path / "lib.so").write_bytes(b"library")
    maker.whole(
        maker.reg(3, str(tmp_path / "log"), size=6000), maker.reg(4, str(tmp_path / "lib.so"), size=7),
        fds={5: 3, 6: 4},
    )  # fmt: skip
    return Path(maker.directory)


def entry_of(manifest: Manifest, path: Path):
    (entry,) = (file for file in manifest.files if os.fsencode(path) in file.names)
    return entry


class TestPolicy:
    def test_leaves_what_would_be_carried(self, dump, tmp_path):
        policy = parse_policy([f"leave path={tmp_path}/*.so", "carry"])
        manifest = capture(dump, container_started_ns=0, policy=policy)
        left = entry_of(manifest, tmp_path / "lib.so")
        assert left.carried is None
        assert left.digest.startswith("sha256-sampled:")
        assert left.reason.endswith(f"; policy: leave path={tmp_path}/*.so")
        assert entry_of(manifest, tmp_path / "log").carried is not None
        assert manifest.policy == (f"leave path={tmp_path}/*.so", "carry")

    def test_carries_what_would_be_left(self, dump, tmp_path):
        policy = parse_policy(["carry origin=image size<=100"])
        manifest = capture(dump, container_started_ns=FAR_FUTURE, policy=policy)
        carried = entry_of(manifest, tmp_path / "lib.so")
        assert (carried.origin, carried.digest.partition(":")[0]) == (Origin.IMAGE, "sha256")
        assert (dump / "llmux" / carried.carried).read_bytes() == b"library"
        assert entry_of(manifest, tmp_path / "log").carried is None

    def test_may_want_no_digest_and_then_the_manifest_says_so(self, dump):
        policy = parse_policy(["leave digest=none"])
        manifest = capture(dump, container_started_ns=0, policy=policy)
        assert {file.digest for file in manifest.files} == {None}
        assert any("are not carried have no digest" in warning for warning in manifest.warnings)


def test_a_capture_says_what_it_cost(dump):
    manifest = capture(dump, container_started_ns=0)
    cost = read_manifest(dump).cost
    assert cost == manifest.cost
    carried = [file for file in manifest.files if file.carried is not None]
    assert cost.carried_files == len(carried)
    assert cost.carried_bytes == sum(file.size for file in carried)
    assert cost.data_bytes <= cost.carried_bytes
    assert cost.microseconds > 0


def test_a_manifest_of_a_newer_release_is_not_taken_for_stale(dump):
    capture(dump, container_started_ns=0)
    content = json.loads((dump / MANIFEST_NAME).read_bytes()) | {"version": 2}
    newer = json.dumps(content | {"seal": seal_of(content)})
    (dump / MANIFEST_NAME).write_text(newer)
    with pytest.raises(ManifestVersion, match=r"manifest version 2, this release reads version 1.*--again"):
        capture(dump, container_started_ns=0)
    assert (dump / MANIFEST_NAME).read_text() == newer
    assert capture(dump, container_started_ns=0, again=True).version == 1


@contextmanager
def small_files():
    """Let no file grow past 1000 bytes: what a full disk does, with another number.

    Not for longer than needed: pytest's own output may be a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_nothing_more_can_be_written_nothing_is_left(dump):
    with (
        pytest.raises(
            ImagesUnwritable, match=f"cannot write the capture to {dump}: .* Make room there"
        ) as raised,
        small_files(),
    ):
        capture(dump, container_started_ns=0)
    assert raised.value.exit_code is ExitCode.WRONG_USE
    assert not list((dump / "llmux").iterdir())
    assert not [path for path in dump.iterdir() if "llmux-" in path.name]
    with pytest.raises(ManifestMissing):
        read_manifest(dump)


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, ImagesUnwritable, ExitCode.WRONG_USE),
        (errno.EROFS, ImagesUnwritable, ExitCode.WRONG_USE),
        (errno.EIO, CaptureFailed, ExitCode.DAMAGED),
    ],
)
def test_what_the_operating_system_says_decides_the_exit_code(number, kind, code):
    error = _capture._unwritable(Path("/images"), OSError(number, os.strerror(number)))
    assert (type(error), error.exit_code) == (kind, code)


def test_side_files_are_written_into_no_linked_directory(dump, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/keep").touch()
    (dump / "llmux").symlink_to(tmp_path / "theirs")
    with pytest.raises(CaptureFailed):
        capture(dump, container_started_ns=0)
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["keep"]


def test_what_is_no_directory_is_no_dump(tmp_path):
    with pytest.raises(NotADump, match="No such file"):
        capture(tmp_path / "nothing")


def test_a_file_of_the_image_is_recorded_and_not_carried(world):
    (world.there / "lib.so").write_text("library")
    far_future = 2**62
    manifest = world.capture(regular("/lib.so", 7), started_ns=far_future)
    assert manifest.files[0].carried is None
    assert manifest.files[0].digest.startswith("sha256-sampled:")
    assert not list((world.images / "llmux").iterdir())
    with pytest.raises(RebuildRefused, match=r"Can't open file lib\.so on restore"):
        world.rebuild()


@pytest.mark.demand("hard-links", "link-remap-device")
def test_hard_links_out_of_reach_are_a_warning(world):
    (world.there / "one").write_text("x")
    (world.there.parent / "two").hardlink_to(world.there / "one")
    manifest = world.capture(regular("/one", 1))
    assert manifest.warnings == ("/one has 1 more hard link out of reach, which a restore does not join",)


def test_a_ghosts_lost_directory_is_not_asked_for(world):
    (world.there / "tmp").mkdir()
    manifest = world.capture(regular("/tmp/lost/ghost", kind=PathKind.GHOST_NAME))
    assert [entry.path for entry in manifest.directories] == [b"/", b"/tmp"]


@pytest.mark.parametrize("kind", [PathKind.REGULAR, PathKind.DIRECTORY, PathKind.FIFO, PathKind.LINK_REMAP])
def test_what_the_dump_needs_and_is_not_there_fails_the_capture(world, kind):
    with pytest.raises(CaptureFailed, match="/none"):
        world.capture(regular("/none", kind=kind))
    assert not (world.images / "llmux-manifest.json").exists()


def test_a_file_shorter_than_the_dump_says_fails_the_capture(world):
    (world.there / "cut").write_text("abc")
    with pytest.raises(CaptureFailed, match="shorter than the 4 bytes"):
        world.capture(regular("/cut", 4))
    assert not (world.images / "llmux-manifest.json").exists()


def test_a_second_capture_replaces_the_first(world):
    for name in "ab":
        (world.there / name).write_text(name)
    world.capture(regular("/a", 1), regular("/b", 1))
    world.capture(regular("/b", 1))
    assert [path.name for path in (world.images / "llmux").iterdir()] == ["0"]
    verify(world.images)
