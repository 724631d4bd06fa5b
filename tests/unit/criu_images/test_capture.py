"""What a capture carries by its policy, what it says of itself, and what it leaves when it fails."""

from __future__ import annotations

import errno
import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmux.criu_images import _capture, capture, read_manifest
from llmux.criu_images._policy_parse import parse_policy
from llmux.criu_images.errors import (
    CaptureFailed,
    ExitCode,
    ImagesUnwritable,
    ManifestMissing,
    ManifestVersion,
    NotADump,
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
