"""flock(2) on directories, between two who do not know of each other."""

from __future__ import annotations

import fcntl

import pytest

from llmux.server._locks import Lock, locked, make_locked, remove_unlocked


def test_whoever_holds_it_keeps_others_out_until_it_lets_go(tmp_path):
    lock = Lock(tmp_path, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        Lock(tmp_path, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with locked(tmp_path) as ours:
        assert not ours
    lock.close()
    with locked(tmp_path) as ours:
        assert ours


def test_only_what_nobody_uses_is_removed(tmp_path):
    used = tmp_path / "used"
    lock = make_locked(used)
    assert not remove_unlocked(used)
    lock.close()
    assert remove_unlocked(used)
    assert not used.exists()
    assert not remove_unlocked(used)


def test_a_link_to_a_directory_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        remove_unlocked(tmp_path / "link")
    assert (tmp_path / "real").is_dir()


def test_what_is_there_already_is_not_made_again(tmp_path):
    assert make_locked(tmp_path) is None


def test_a_lock_on_a_removed_directory_is_known(tmp_path):
    lock = make_locked(tmp_path / "a")
    (tmp_path / "a").rmdir()
    assert lock.is_removed()
    lock.close()
