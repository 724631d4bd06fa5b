"""Random trees of files on a real file system, and what of them must come back."""

# ruff: noqa: PTH101, PTH102, PTH115, PTH123, PTH211 - raw bytes, which pathlib does not take

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

from llmux.criu_images._capture import Subject
from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Pid

ROOT = os.geteuid() == 0
PERMISSIONS = 0o7777 if ROOT else 0o777

names = st.binary(min_size=1, max_size=12).filter(
    lambda name: name not in {b".", b".."} and b"/" not in name and b"\0" not in name
)
modes = st.integers(0, 0o7777).map(lambda mode: mode & PERMISSIONS | 0o700)
times = st.integers(1, 2 * 10**18)
owners = st.integers(0, 70000) if ROOT else st.just(os.geteuid())


@dataclass(frozen=True)
class Meta:
    mode: int
    mtime_ns: int
    owner: int
    xattr: bytes | None


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


metas = st.builds(Meta, modes, times, owners, st.none() | st.binary(max_size=20))
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
    os.chown(path, meta.owner, -1, follow_symlinks=False)
    if not link:
        os.chmod(path, meta.mode)
        if meta.xattr is not None and not stat.S_ISFIFO(os.lstat(path).st_mode):
            os.setxattr(path, b"user.llmux", meta.xattr)
    os.utime(path, ns=(meta.mtime_ns, meta.mtime_ns), follow_symlinks=False)


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
            _content(path, status),
        )
    return shots


def _content(path: bytes, status: os.stat_result) -> tuple[object, ...]:
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            data = file.read()
        return (data, _xattrs(path))
    if stat.S_ISLNK(status.st_mode):
        return (os.readlink(path),)
    return (_xattrs(path),)


def _xattrs(path: bytes) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}
