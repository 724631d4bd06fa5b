"""Random trees of files on a real file system, and what of them must come back."""

# ruff: noqa: PTH101, PTH102, PTH115, PTH123, PTH211 - raw bytes, which pathlib does not take

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import strategies as st

from llmux.criu_images._capture import Subject
from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Pid

ROOT = os.geteuid() == 0
PERMISSIONS = 0o7777 if ROOT else 0o777

short_names = st.binary(min_size=1, max_size=12).filter(
    lambda name: name not in {b".", b".."} and b"/" not in name and b"\0" not in name
)
names = short_names | short_names.map(lambda name: (name * 255)[:255])
modes = st.integers(0, 0o7777).map(lambda mode: mode & PERMISSIONS | 0o700)
times = st.integers(1, 2 * 10**18)
owners = st.integers(0, 70000) if ROOT else st.just(os.geteuid())
groups = st.integers(0, 70000) if ROOT else st.just(os.getegid())
NOBODY = 2**32 - 1
ATTRIBUTES = [b"user.llmux", b"user.\xff", *([b"trusted.llmux", b"security.llmux"] if ROOT else [])]


@dataclass(frozen=True)
class Meta:
    mode: int
    mtime_ns: int
    atime_ns: int
    owner: int
    group: int
    xattrs: dict[bytes, bytes] = field(hash=False)
    acl: bytes | None
    """An access ACL, and a directory's default ACL too."""


@dataclass(frozen=True)
class File:
    meta: Meta
    parts: tuple[tuple[int, bytes], ...]
    """Data at offsets; the gaps are holes."""
    extra_names: tuple[bytes, ...]
    kind: str = "file"


@dataclass(frozen=True)
class Other:
    meta: Meta
    kind: str
    target: bytes = b""


@dataclass(frozen=True)
class Directory:
    meta: Meta
    children: dict[bytes, File | Other | Directory] = field(hash=False)
    kind: str = "directory"


permissions = st.integers(0, 7)
acls = st.builds(
    lambda owner, user, group, mask, other, who: (
        struct.pack("<I", 2)
        + b"".join(
            struct.pack("<HHI", *entry)
            for entry in (
                (1, owner | 6, NOBODY),
                (2, user, who),
                (4, group, NOBODY),
                (16, mask, NOBODY),
                (32, other, NOBODY),
            )
        )
    ),
    *[permissions] * 5,
    st.integers(0, 70000),
)
attributes = st.dictionaries(st.sampled_from(ATTRIBUTES), st.binary(max_size=20), max_size=2)
metas = st.builds(Meta, modes, times, times, owners, groups, attributes, st.none() | acls)
files = st.builds(
    File,
    metas,
    st.lists(st.tuples(st.integers(0, 40).map(lambda n: n * 3000), st.binary(max_size=300)), max_size=3).map(
        tuple
    ),
    st.lists(names, max_size=2).map(tuple),
)
others = st.builds(Other, metas, st.just("fifo")) | st.builds(
    Other,
    metas,
    st.just("symlink"),
    st.binary(min_size=1, max_size=30).filter(lambda target: b"\0" not in target),
)
nodes = st.recursive(
    files | others,
    lambda inner: st.builds(Directory, metas, st.dictionaries(names, inner, max_size=4)),
    max_leaves=8,
)
trees = st.dictionaries(names, nodes, max_size=5)


def make(tree: dict[bytes, File | Other | Directory], directory: bytes) -> None:
    """Make a tree on the file system."""
    for name, node in tree.items():
        path = directory + b"/" + name
        if os.path.lexists(path):  # an extra name of a file came first
            continue
        match node:
            case Directory():
                os.mkdir(path)
                make(node.children, path)
            case File():
                _write(path, node)
                for extra in node.extra_names:
                    with suppress(FileExistsError):
                        os.link(path, directory + b"/" + extra)
            case Other(kind="fifo"):
                os.mkfifo(path)
            case Other():
                os.symlink(node.target, path)
        _dress(path, node.meta, link=node.kind == "symlink")


def _write(path: bytes, file: File) -> None:
    with open(path, "wb") as out:
        for offset, data in file.parts:
            out.seek(offset)
            out.write(data)


def _dress(path: bytes, meta: Meta, *, link: bool) -> None:
    os.chown(path, meta.owner, meta.group, follow_symlinks=False)
    kind = stat.S_IFMT(os.lstat(path).st_mode)
    if not link:
        os.chmod(path, meta.mode)
        if meta.acl is not None:
            os.setxattr(path, b"system.posix_acl_access", meta.acl)
        if meta.acl is not None and kind == stat.S_IFDIR:
            os.setxattr(path, b"system.posix_acl_default", meta.acl)
    for name, value in meta.xattrs.items():
        if kind in {stat.S_IFREG, stat.S_IFDIR} or not name.startswith(b"user."):
            os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, ns=(meta.atime_ns, meta.mtime_ns), follow_symlinks=False)


def subject_of(root: Path) -> Subject:
    """Return an inventory that asks for every path below `root`."""
    references = [_reference(path, os.fsencode(root)) for path in paths_below(root)]
    inventory = Inventory(tuple(references), (), (), (), (), (), ())
    return Subject(inventory, Pid(1), frozenset())


def _reference(path: bytes, root: bytes) -> PathReference:
    status = os.lstat(path)
    kinds = {
        stat.S_IFREG: PathKind.REGULAR,
        stat.S_IFDIR: PathKind.DIRECTORY,
        stat.S_IFIFO: PathKind.FIFO,
        stat.S_IFLNK: PathKind.SYMLINK,
    }
    kind = kinds[stat.S_IFMT(status.st_mode)]
    size = status.st_size if kind is PathKind.REGULAR else None
    return PathReference(RawPath(path[len(root) :]), kind, (), size, status.st_mode)


def one_name_each(subject: Subject, root: Path) -> Subject:
    """Leave out all names of a file but its first."""
    known: set[int] = set()
    references = []
    for reference in subject.inventory.paths:
        number = os.lstat(os.fsencode(root) + reference.path).st_ino
        if number not in known:
            references.append(reference)
        known.add(number)
    return replace(subject, inventory=replace(subject.inventory, paths=tuple(references)))


def paths_below(root: Path) -> list[bytes]:
    """Return every path below `root`, a directory before its content."""
    found: list[bytes] = []
    for directory, directories, others_ in os.walk(os.fsencode(root)):
        found += [directory + b"/" + name for name in (*directories, *others_)]
    return sorted(found)


def snapshot(root: Path, *, directory_times: bool = True) -> dict[bytes, tuple[object, ...]]:
    """Return all that a rebuild promises to bring back, by path."""
    first: dict[int, bytes] = {}
    shots = {}
    for path in paths_below(root):
        status = os.lstat(path)
        relative = path[len(os.fsencode(root)) :]
        inode = first.setdefault(status.st_ino, relative)
        timed = directory_times or not stat.S_ISDIR(status.st_mode)
        shots[relative] = (
            inode,
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns if timed else None,
            # Reading a directory or a link, as the capture and this very function do, changes when it was read last.
            status.st_atime_ns if stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode) else None,
            _content(path, status),
        )
    return shots


def _content(path: bytes, status: os.stat_result) -> tuple[object, ...]:
    if stat.S_ISREG(status.st_mode):
        fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
        try:
            return (os.pread(fd, status.st_size, 0), _data_of(fd, status.st_size), _xattrs(path))
        finally:
            os.close(fd)
    if stat.S_ISLNK(status.st_mode):
        return (os.readlink(path), _xattrs(path))
    return (_xattrs(path),)


def _data_of(fd: int, size: int) -> list[tuple[int, int]]:
    """Return where the file has data; all else are holes."""
    found: list[tuple[int, int]] = []
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            break
        end = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, end))
    return found


def _xattrs(path: bytes) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
