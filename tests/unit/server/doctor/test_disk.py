"""What is said of a directory, and that measuring it leaves nothing there."""

from __future__ import annotations

import os
from pathlib import Path

from llmux.server.doctor import _disk


def test_a_directory_is_described_and_measured_and_left_as_it_was(tmp_path):
    tmp_path.chmod(0o750)
    found = _disk.look_at("x", tmp_path, 32 << 20)
    assert (found.there, found.owner, found.mode, found.problem) == (True, os.geteuid(), 0o750, "")
    assert found.free > 0
    assert found.speed.bytes == 32 << 20
    assert found.speed.write > 0
    assert found.speed.read > 0
    assert list(tmp_path.iterdir()) == []


def test_without_much_to_write_nothing_is_measured(tmp_path):
    assert _disk.look_at("x", tmp_path, 1 << 20).speed is None
    assert _disk.look_at("x", tmp_path).speed is None


def test_what_is_not_there_is_judged_by_what_is_above_it(tmp_path):
    found = _disk.look_at("x", tmp_path / "a/b")
    assert (found.there, found.nearest, found.problem) == (False, str(tmp_path), "")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_made_it_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    assert "is no directory" in _disk.look_at("x", tmp_path / "file").problem
    assert _disk.look_at("x", Path("/proc/self")).problem


def test_the_nearest_mount_above_a_path_says_what_it_lies_on(tmp_path):
    table = tmp_path / "mountinfo"
    place = tmp_path / "a b"
    place.mkdir()
    escaped = str(place).replace(" ", r"\040")
    table.write_text(
        f"1 1 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:3 / {escaped} rw shared:1 - tmpfs tmpfs rw\n3 1 0:4 / /else rw - xfs x rw\n"
    )
    assert _disk.file_system_of(place / "c", table) == "tmpfs"
    assert _disk.file_system_of(tmp_path, table) == "ext4"
    assert _disk.file_system_of(tmp_path, tmp_path / "none") == "an unknown file system"
