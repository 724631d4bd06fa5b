"""Locks that somebody else holds, asked of the kernel: another process holds them in each test."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess  # noqa: TID251 - a lock keeps out other processes only
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from manifests import file_entry, manifest

from llmux.criu_images._locks import find_holders
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree
from llmux.criu_images.manifest import LockEntry, LockKind

pytestmark = pytest.mark.demand("locks-foreign")

TAKE = {
    "flock": "fcntl.flock(fd, fcntl.LOCK_EX)",
    "shared flock": "fcntl.flock(fd, fcntl.LOCK_SH)",
    "POSIX": "fcntl.lockf(fd, fcntl.LOCK_EX, 100, 200)",
    "OFD": "fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 200, 100, 0))",
    "open": "pass",
    "lease": "os.close(fd); fd = os.open(sys.argv[1], os.O_RDONLY); fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)",
}


@contextmanager
def held(path: Path, how: str) -> Iterator[int]:
    """Have another process take a lock; its id."""
    script = f"import fcntl, os, struct, sys; fd = os.open(sys.argv[1], os.O_RDWR); {TAKE[how]}; print('has', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"has\n"
        yield process.pid
        process.stdin.close()


def lock(path: str, kind: LockKind, *, exclusive: bool = True, start: int = 0, length: int = 0) -> LockEntry:
    return LockEntry(
        path=RawPath(path.encode()),
        kind=kind,
        exclusive=exclusive,
        start=start,
        length=length,
        pid=1000,
        fd=3,
    )


def holders(root: Path, *locks: LockEntry, **parts: object) -> dict[int, str]:
    with Tree(root) as tree:
        return dict(find_holders(manifest(locks=locks, **parts), tree))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    return path


RIVALS = [
    ("flock", lock("/file", LockKind.FLOCK)),
    ("flock", lock("/file", LockKind.FLOCK, exclusive=False)),
    ("shared flock", lock("/file", LockKind.FLOCK)),
    ("POSIX", lock("/file", LockKind.POSIX, start=299)),
    ("POSIX", lock("/file", LockKind.OFD, exclusive=False, start=150, length=51)),
    ("OFD", lock("/file", LockKind.POSIX, start=0, length=0)),
    ("OFD", lock("/file", LockKind.OFD, start=299, length=1)),
    ("open", lock("/file", LockKind.LEASE, exclusive=False)),
    ("open", lock("/file", LockKind.LEASE)),
    ("lease", lock("/file", LockKind.LEASE)),
]
PEACEFUL = [
    ("shared flock", lock("/file", LockKind.FLOCK, exclusive=False)),
    ("flock", lock("/file", LockKind.POSIX)),
    ("POSIX", lock("/file", LockKind.FLOCK)),
    ("POSIX", lock("/file", LockKind.POSIX, start=300)),
    ("OFD", lock("/file", LockKind.OFD, start=0, length=200)),
    ("lease", lock("/file", LockKind.LEASE, exclusive=False)),
]


@pytest.mark.parametrize(("how", "wanted"), RIVALS)
def test_the_holder_of_a_rival_lock_is_named(file: Path, how: str, wanted: LockEntry) -> None:
    with held(file, how) as pid:
        (holder,) = holders(file.parent, wanted).values()
        assert holder.startswith(f"process {pid} (python")
    assert holders(file.parent, wanted) == {}


@pytest.mark.parametrize(("how", "wanted"), PEACEFUL)
def test_a_lock_that_leaves_room_is_no_rival(file: Path, how: str, wanted: LockEntry) -> None:
    with held(file, how):
        assert holders(file.parent, wanted) == {}


@pytest.mark.parametrize("kind", LockKind)
def test_looking_leaves_no_lock(file: Path, kind: LockKind) -> None:
    with Tree(file.parent) as tree:
        assert find_holders(manifest(locks=(lock("/other", kind), lock("/file", kind))), tree) == {}
        with file.open("r+b") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.fcntl(other, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            assert b"lock:\t1: LEASE" not in Path(f"/proc/self/fdinfo/{other.fileno()}").read_bytes()


def test_a_directory_is_locked_too(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    fd = os.open(tmp_path / "directory", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert list(holders(tmp_path, lock("/directory", LockKind.FLOCK))) == [0]
    os.close(fd)
    assert holders(tmp_path, lock("/directory", LockKind.FLOCK)) == {}


def test_a_link_remap_that_is_missing_is_locked_by_its_partner(file: Path) -> None:
    entry = file_entry("/link_remap.7", "/file")
    with held(file, "flock"):
        assert list(holders(file.parent, lock("/link_remap.7", LockKind.FLOCK), files=(entry,))) == [0]


@pytest.mark.parametrize("kind", LockKind)
def test_what_is_no_file_any_more_is_not_opened(tmp_path: Path, kind: LockKind) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    assert holders(tmp_path, lock("/fifo", kind), lock("/link", kind), lock("/missing/file", kind)) == {}


def test_a_range_that_no_file_has_is_nobodys(file: Path) -> None:
    most = (1 << 63) - 1
    assert holders(file.parent, lock("/file", LockKind.POSIX, start=most, length=most)) == {}
