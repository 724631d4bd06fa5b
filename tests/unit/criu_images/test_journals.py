"""Which journal is meant: this namespace's, another's where there is only one, and never a guess among several."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess  # noqa: TID251 - a process in a namespace of its own
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from llmux.criu_images import _journals as journals
from llmux.criu_images import _observe
from llmux.criu_images._journal import Kind, Made, format_line, locked, read_claims
from llmux.criu_images._journals import find_journal, journal_to_undo, own_journal
from llmux.criu_images._mount_namespaces import lasting_name
from llmux.criu_images._paths import RawPath
from llmux.criu_images.errors import JournalInvalid

SEAL = "5ea1"


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "DEFAULT_DIRECTORY", tmp_path)
    monkeypatch.delenv(_observe.PRIVATE_MOUNTS_VARIABLE, raising=False)
    monkeypatch.setattr(journals, "has_private_mounts", lambda: False)
    return tmp_path


def test_each_mount_namespace_has_its_own(directory):
    assert own_journal(SEAL) == directory / f"{SEAL}.{lasting_name()}.json"


def test_the_own_one_comes_first(directory):
    own_journal(SEAL).touch()
    (directory / f"{SEAL}.1.json").touch()
    assert find_journal(SEAL) == own_journal(SEAL)


def test_the_only_one_is_found_from_outside(directory):
    assert find_journal(SEAL) == own_journal(SEAL)
    (directory / "another.1.json").touch()
    (directory / f"{SEAL}.1.json").touch()
    assert find_journal(SEAL) == directory / f"{SEAL}.1.json"


def test_that_of_a_tree_with_other_paths_is_never_undone_here(directory):
    own_journal(SEAL, 12).touch()
    with pytest.raises(JournalInvalid, match=r"task-12.*paths are others than here.*--root"):
        journal_to_undo(SEAL)
    assert journal_to_undo(SEAL, directory) == own_journal(SEAL, 12)


def test_in_a_namespace_of_its_own_no_other_is_touched(directory, monkeypatch):
    (directory / f"{SEAL}.1.json").touch()
    monkeypatch.setattr(journals, "has_private_mounts", lambda: True)
    assert find_journal(SEAL) == own_journal(SEAL)


def test_among_several_nothing_is_guessed(directory):
    for number in (1, 2):
        (directory / f"{SEAL}.{number}.json").touch()
    with pytest.raises(JournalInvalid, match=r"2 restores of this dump are not finished.*--journal"):
        find_journal(SEAL)


def test_of_a_namespace_that_has_ended_an_undo_takes_back_what_it_left(directory):
    (directory / f"{SEAL}.1.json").touch()
    assert journal_to_undo(SEAL) == directory / f"{SEAL}.1.json"
    own_journal(SEAL).touch()
    assert journal_to_undo(SEAL) == own_journal(SEAL)


@contextmanager
def another_namespace() -> Iterator[int]:
    """Give a process that lives in a mount namespace of its own."""
    with subprocess.Popen(["unshare", "--mount", "sleep", "600"]) as inside:
        try:
            while lasting_name(inside.pid) == lasting_name():
                time.sleep(0.01)
            yield inside.pid
        finally:
            inside.kill()


@pytest.mark.root
def test_of_a_namespace_in_which_somebody_lives_nothing_is_undone_from_outside(directory):
    with another_namespace() as pid:
        journal = directory / f"{SEAL}.{lasting_name(pid)}.json"
        journal.touch()
        assert find_journal(SEAL) == journal
        with pytest.raises(
            JournalInvalid,
            match=rf"process {pid} lives.*nsenter --mount --target {pid}.*--journal",
        ):
            journal_to_undo(SEAL)
    assert journal_to_undo(SEAL) == journal


@pytest.mark.root
def test_who_got_an_ended_namespaces_inode_number_does_not_live_in_it(directory):
    with another_namespace() as pid:
        number, journal = inode_number(pid), directory / f"{SEAL}.{lasting_name(pid)}.json"
        if journal.name == f"{SEAL}.{number}.json":
            pytest.skip("this kernel, before 6.11, has no other number for a mount namespace")
        journal.touch()
    with (
        ExitStack() as others
    ):  # the number is free, and one of the next gets it, unless somebody else's is made just now
        for _ in range(8):
            others.enter_context(another_namespace())
        assert journal_to_undo(SEAL) == journal


def inode_number(pid: int) -> int:
    with suppress(OSError):
        return Path(f"/proc/{pid}/ns/mnt").stat().st_ino
    return 0


def test_a_kernel_without_lasting_numbers_tells_the_inodes(monkeypatch):
    def unknown(_fd, _request, _buffer):
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    monkeypatch.setattr(fcntl, "ioctl", unknown)
    assert lasting_name() == str(inode_number(os.getpid()))


def test_a_tree_with_a_mount_namespace_of_its_own_has_that_of_its_root_task(directory):
    assert own_journal(SEAL, 12) == directory / f"{SEAL}.task-12.json"
    own_journal(SEAL, 12).touch()
    assert find_journal(SEAL) == own_journal(SEAL, 12)


def test_names_in_a_mount_namespace_of_its_own_are_nobody_elses(directory):
    own_journal(SEAL, 12).write_bytes(
        format_line(Made(Kind.LEFTOVER, (RawPath(b"/tmp/link"),)))
        + format_line(Made(Kind.NODE, (RawPath(b"/srv/log"),), 1, 2, birth_ns=3))
    )
    shared = {(b"/srv/log", (1, 2, 3)): f"{SEAL}.task-12.json"}
    assert read_claims(own_journal(SEAL)) == shared
    assert read_claims(own_journal(SEAL, 13)) == shared


def test_one_that_does_not_end_is_named_and_not_waited_for_without_end(tmp_path):
    tmp_path.chmod(0o700)
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(JournalInvalid) as caught, locked(tmp_path / "one.json", seconds=0.1):
        pass
    assert f"has not ended after 0.1 seconds: process {os.getpid()} (" in str(caught.value)
    os.close(fd)
    with locked(tmp_path / "one.json", seconds=0):
        pass
