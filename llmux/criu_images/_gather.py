"""From the inventory to the manifest's entries: looks at each path a restore will ask for, while the tree is frozen."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmux.criu_images._facts import Inode, MountPoint
from llmux.criu_images._inventory import PathKind, PathReference
from llmux.criu_images._links import LinkSearch
from llmux.criu_images._metadata import read_metadata
from llmux.criu_images._nvidia import NvidiaDriver, is_made_by_driver, library_version
from llmux.criu_images._origin import ContainerStart, Verdict, is_kernel_made, judge
from llmux.criu_images._paths import RawPath
from llmux.criu_images._policy import DEFAULT, Candidate, Depth, Policy, Rule, Verb
from llmux.criu_images._safefs import Tree, inspect_fd
from llmux.criu_images.errors import CaptureFailed
from llmux.criu_images.manifest import (
    DirectoryEntry,
    FifoEntry,
    FileEntry,
    FreeKind,
    FreeName,
    Metadata,
    NodeEntry,
    Origin,
    SymlinkEntry,
)

# A process's own files live with it; a terminal's slave is made with its master, or is the caller's (`--shell-job`).
_COMES_AND_GOES = re.compile(rb"/proc/(self|thread-self|[0-9]+)(/|\Z)|/dev/pts/[0-9]+\Z|/dev/tty\Z")
_FORMATS = {
    PathKind.REGULAR: stat.S_IFREG,
    PathKind.LINK_REMAP: stat.S_IFREG,
    PathKind.DIRECTORY: stat.S_IFDIR,
    PathKind.FIFO: stat.S_IFIFO,
    PathKind.SYMLINK: stat.S_IFLNK,
}
_FREE = {
    PathKind.SOCKET: (FreeKind.SOCKET, "CRIU binds a socket here"),
    PathKind.LINKED_NAME: (FreeKind.LINKED_NAME, "CRIU links a lost file here for a moment"),
    PathKind.GHOST_NAME: (FreeKind.GHOST_NAME, "CRIU makes a ghost file here for a moment"),
}
# CRIU makes a deleted socket's directories itself.
_NOT_OURS = frozenset({PathKind.DELETED_SOCKET})
_NODES_OF_DRIVER = frozenset({PathKind.DEVICE, PathKind.DIRECTORY, PathKind.PROC})
_WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True, slots=True)
class Place:
    """Where the captured paths are looked up, and what tells run-time files from the image's."""

    tree: Tree
    mounts: Mapping[int, MountPoint]
    """By mount id."""
    root_mount: int
    start: ContainerStart
    root: Path = Path("/")
    """The tree's."""
    nvidia: NvidiaDriver | None = None
    """The node's driver, as the tree sees it."""

    @property
    def layer_mount(self) -> int | None:
        """The id of the root's mount, if that is an overlay's writable layer over an image."""
        return self.root_mount if self.mounts[self.root_mount].fstype == "overlay" else None


@dataclass(frozen=True, slots=True)
class GatheredFile:
    """One inode's entry, and whether its content is to be carried."""

    entry: FileEntry
    inode: Inode
    carry: bool
    depth: Depth
    """How much of a file that is not carried is to be digested."""


@dataclass(slots=True)
class _Uses:
    """What the references to one inode come to."""

    inode: Inode
    names: set[RawPath] = field(default_factory=set)
    consumed: set[RawPath] = field(default_factory=set)
    size: int | None = None
    mode: int | None = None
    build_id: bytes | None = None
    written: bool = False


class Gathering:
    """Collects entries path by path; every list comes out sorted by path."""

    def __init__(self, place: Place, written: frozenset[RawPath], policy: Policy = DEFAULT) -> None:
        """Start empty; `written` are the paths that some process may write to, by whatever reference."""
        self._place = place
        self._policy = policy
        self._written = written
        self._directories: dict[RawPath, DirectoryEntry] = {}
        self._symlinks: dict[RawPath, SymlinkEntry] = {}
        self._files: dict[tuple[int, int], _Uses] = {}
        self._fifos: dict[RawPath, FifoEntry] = {}
        self._nodes: dict[RawPath, NodeEntry] = {}
        self._links = LinkSearch(place.tree, place.layer_mount, place.start.ns)
        self._free: dict[tuple[RawPath, FreeKind], FreeName] = {}

    @property
    def directories(self) -> tuple[DirectoryEntry, ...]:
        return tuple(self._directories[path] for path in sorted(self._directories))

    @property
    def symlinks(self) -> tuple[SymlinkEntry, ...]:
        return tuple(self._symlinks[path] for path in sorted(self._symlinks))

    @property
    def fifos(self) -> tuple[FifoEntry, ...]:
        return tuple(self._fifos[path] for path in sorted(self._fifos))

    @property
    def nodes(self) -> tuple[NodeEntry, ...]:
        return tuple(self._nodes[path] for path in sorted(self._nodes))

    @property
    def free_names(self) -> tuple[FreeName, ...]:
        return tuple(self._free[key] for key in sorted(self._free, key=lambda key: (key[0], key[1].value)))

    def add_all(self, references: Iterable[PathReference]) -> None:
        """Look at every reference's path; raises CaptureFailed, UnsafeLink."""
        for reference in references:
            try:
                self._add(reference)
            except OSError as error:
                raise CaptureFailed(reference.path, error.strerror or str(error)) from error

    def _add(self, reference: PathReference) -> None:
        kind = reference.kind
        if kind in _FREE:
            self._add_free(reference, *_FREE[kind])
        elif kind in _NODES_OF_DRIVER and is_made_by_driver(reference.path):
            self._add_node(reference, "NVIDIA's driver makes it")
        elif kind in _FORMATS:
            self._add_existing(reference, self._must_exist(reference, _FORMATS[kind]))
        elif kind is PathKind.WATCHED:
            self._add_watched(reference)
        elif kind is PathKind.EXTERNAL_SOCKET:
            self._add_directories(self._nearest_directory(_parent(reference.path)))
        elif kind not in _NOT_OURS and not _COMES_AND_GOES.match(reference.path):
            self._add_node(reference, "the kernel or the container's engine makes it")

    def _add_existing(self, reference: PathReference, inode: Inode) -> None:
        match stat.S_IFMT(inode.mode):
            case stat.S_IFDIR:
                self._add_directories(reference.path, reference.mode)
            case stat.S_IFIFO:
                self._add_fifo(reference.path)
            case stat.S_IFLNK:
                self._add_symlink(reference.path, "opened itself")
            case _:
                self._add_file(reference, inode)

    def _must_exist(self, reference: PathReference, kind: int) -> Inode:
        inode = self._place.tree.inspect(reference.path)
        if inode is None:
            raise CaptureFailed(
                reference.path, f"the dump refers to a {reference.kind.value} here, and there is none"
            )
        if stat.S_IFMT(inode.mode) != kind:
            raise CaptureFailed(
                reference.path, f"the dump has a {reference.kind.value} here, this is a {inode.kind}"
            )
        return inode

    def _add_file(self, reference: PathReference, inode: Inode) -> None:
        if is_kernel_made(self._mount_of(reference.path, inode)):
            self._add_node(reference, "the kernel makes it")
            return
        self._add_directories(_parent(reference.path))
        uses = self._files.setdefault(inode.identity, _Uses(inode))
        uses.names.add(reference.path)
        if reference.kind is PathKind.LINK_REMAP:
            uses.consumed.add(reference.path)
        uses.size = reference.size if uses.size is None else uses.size
        uses.mode = reference.mode if uses.mode is None else uses.mode
        uses.build_id = uses.build_id or reference.build_id
        uses.written |= bool(reference.flags & _WRITING) or reference.path in self._written

    def _add_directories(self, path: RawPath, demanded_mode: int | None = None) -> None:
        """Add the existing directory `path`, all above it, and the links on the way."""
        real, links = self._place.tree.resolve(path)
        for link in links:
            self._add_symlink(link, "on the way to a path of the dump")
        for ancestor in _up_to_root(real):
            if ancestor not in self._directories:
                self._directories[ancestor] = self._directory(ancestor)
        if demanded_mode is not None:
            entry = self._directories[real]
            self._directories[real] = entry.model_copy(update={"demanded_mode": demanded_mode})

    def _directory(self, path: RawPath) -> DirectoryEntry:
        verdict, metadata = self._verdict_and_metadata(path)
        return DirectoryEntry(path=path, origin=verdict.origin, reason=verdict.reason, metadata=metadata)

    def _add_symlink(self, path: RawPath, reason: str) -> None:
        if path in self._symlinks:
            return
        verdict, metadata = self._verdict_and_metadata(path)
        target = self._place.tree.readlink(path)
        self._symlinks[path] = SymlinkEntry(
            path=path,
            target=target,
            origin=verdict.origin,
            reason=f"{reason}; {verdict.reason}",
            metadata=metadata,
        )
        self._add_directories(_parent(path))

    def _add_fifo(self, path: RawPath) -> None:
        verdict, metadata = self._verdict_and_metadata(path)
        self._fifos[path] = FifoEntry(
            path=path, origin=verdict.origin, reason=verdict.reason, metadata=metadata
        )
        self._add_directories(_parent(path))

    def _add_node(self, reference: PathReference, reason: str) -> None:
        inode = self._place.tree.inspect(reference.path)
        if inode is not None:
            self._nodes[reference.path] = NodeEntry(
                path=reference.path,
                reason=reason,
                mode=inode.mode,
                rdev=inode.rdev,
                demanded_mode=reference.mode,
            )

    def _add_free(self, reference: PathReference, kind: FreeKind, reason: str) -> None:
        self._add_directories(self._nearest_directory(_parent(reference.path)))
        remap_id = reference.remap.remap_id if reference.remap and kind is FreeKind.GHOST_NAME else None
        path = self._without_dots(reference.path)
        self._free[path, kind] = FreeName(path=path, kind=kind, reason=reason, remap_id=remap_id)

    def _without_dots(self, path: RawPath) -> RawPath:
        """Find the real path of a name with `..` in it, as a socket's may be: bind(2) took it as it was given."""
        parent, _, name = path.rpartition(b"/")
        if b".." not in path.split(b"/"):
            return path
        real, _ = self._place.tree.resolve(RawPath(parent))
        return RawPath(real.rstrip(b"/") + b"/" + name)

    def _nearest_directory(self, path: RawPath) -> RawPath:
        """Return the deepest of `path` and its ancestors that is there: a lost file's directory may be lost too."""
        for ancestor in _up_to_root(path):
            try:
                self._place.tree.resolve(ancestor)
            except (FileNotFoundError, NotADirectoryError):
                continue
            return ancestor
        return RawPath(b"/")

    def _add_watched(self, reference: PathReference) -> None:
        inode = self._place.tree.inspect(reference.path)
        if inode is None:
            raise CaptureFailed(reference.path, "the dump watches it, and there is nothing")
        if stat.S_ISREG(inode.mode):
            self._add_file(reference, inode)
        elif stat.S_ISDIR(inode.mode):
            self._add_directories(reference.path)
        else:
            self._add_node(reference, "watched")

    def _mount_of(self, path: RawPath, inode: Inode) -> MountPoint:
        mount = None if inode.mount is None else self._place.mounts.get(inode.mount)
        if mount is None:
            raise CaptureFailed(path, "the kernel does not tell its mount", hint="Use Linux 5.8 or newer")
        return mount

    def _verdict_and_metadata(self, path: RawPath) -> tuple[Verdict, Metadata]:
        with self._place.tree.open(path, os.O_PATH) as fd:
            inode, metadata = inspect_fd(fd), read_metadata(fd)
        return self._judge(path, inode, written=False), metadata

    def _judge(self, path: RawPath, inode: Inode, *, written: bool) -> Verdict:
        mount = self._mount_of(path, inode)
        return judge(inode, mount, self._place.root_mount, self._place.start, written=written)

    def files(self) -> tuple[GatheredFile, ...]:
        """Return an entry for each regular file, its hard-link group found; call after `add_all`. Raises CaptureFailed."""
        files = []
        for uses in self._files.values():
            path = min(uses.names)
            try:
                files.append(self._finish_file(path, uses))
            except OSError as error:
                raise CaptureFailed(path, error.strerror or str(error)) from error
        return tuple(sorted(files, key=lambda file: file.entry.names))

    def _finish_file(self, path: RawPath, uses: _Uses) -> GatheredFile:
        verdict, depth = self._decide(path, uses)
        names = (
            self._linked_names(uses) if verdict.carried and uses.inode.links > 1 else frozenset(uses.names)
        )
        for directory in {_parent(name) for name in names - uses.names}:
            self._add_directories(directory)
        with self._place.tree.open(path, os.O_PATH) as fd:
            metadata = read_metadata(fd)
        entry = FileEntry(
            names=tuple(sorted(names)),
            consumed=tuple(sorted(uses.consumed)),
            origin=verdict.origin,
            reason=verdict.reason,
            mount=self._mount_of(path, uses.inode).mountpoint,
            metadata=metadata,
            size=uses.inode.size if uses.size is None else uses.size,
            demanded_size=uses.size,
            demanded_mode=uses.mode,
            build_id=uses.build_id.hex() if uses.build_id else None,
            inode=uses.inode.number,
            ctime_ns=uses.inode.ctime_ns,
            written=uses.written,
        )
        return GatheredFile(entry, uses.inode, verdict.carried, depth)

    def _decide(self, path: RawPath, uses: _Uses) -> tuple[Verdict, Depth]:
        """Judge a file, and ask the policy; a link remap is always carried, because nobody but CRIU has it, and the driver's library never."""
        driver = self._place.nvidia
        if driver is not None and library_version(path) == driver.version and not uses.consumed:
            reason = f"of NVIDIA's driver {driver.version}, which is the node's"
            return Verdict(Origin.NODE, False, reason), Depth.NONE
        verdict = self._judge(path, uses.inode, written=uses.written)
        file = Candidate(tuple(sorted(uses.names)), verdict.origin, uses.inode.size, uses.written)
        rule = None if uses.consumed else self._policy.at_capture(file)
        if rule is not None:
            reason = f"{verdict.reason}; policy: {rule}"
            verdict = Verdict(verdict.origin, rule.verb is Verb.CARRY, reason)
        return verdict, _depth(verdict, rule)

    def _linked_names(self, uses: _Uses) -> frozenset[RawPath]:
        return self._links.names_of(uses.inode, uses.names)


def _depth(verdict: Verdict, rule: Rule | None) -> Depth:
    if verdict.carried:
        return Depth.NONE
    return Depth.SAMPLED if rule is None else rule.digest


def _parent(path: RawPath) -> RawPath:
    return RawPath(path.rpartition(b"/")[0] or b"/")


def _up_to_root(path: RawPath) -> Iterator[RawPath]:
    yield path
    while path != b"/":
        path = _parent(path)
        yield path
