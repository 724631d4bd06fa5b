"""Looks at every path of a manifest, here and now, and at this machine: the facts that a plan is made from."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmux.criu_images import _observe as observe
from llmux.criu_images._compare import is_very_file
from llmux.criu_images._digest import ShortReadError, algorithm_of, digest_file
from llmux.criu_images._elf import read_build_id
from llmux.criu_images._facts import Facts, Inode, Peer, Seen, Unheld
from llmux.criu_images._hold import probe_peer
from llmux.criu_images._journal import read_claims, read_own
from llmux.criu_images._keep import find_kept
from llmux.criu_images._ledger import read_made
from llmux.criu_images._locks import find_holders
from llmux.criu_images._metadata import find_unheld
from llmux.criu_images._observe_nvidia import read_driver
from llmux.criu_images._paths import RawPath
from llmux.criu_images._plan import leftovers_of
from llmux.criu_images._progress import Advance, Listener, Meter, Phase, ignore
from llmux.criu_images._safefs import Tree, inspect_fd
from llmux.criu_images.errors import UnsafeLink
from llmux.criu_images.manifest import FileEntry, Manifest, Metadata


def survey(  # noqa: PLR0913 - each is the caller's own choice
    manifest: Manifest,
    tree: Tree,
    journal: Path | None = None,
    listener: Listener = ignore,
    *,
    root: Path = Path("/"),
    task: int | None = None,
) -> Facts:
    """Observe all that `make_plan` compares with `manifest`; raises OSError where /proc cannot be read, JournalInvalid.

    `journal` is this restore's; what it and those beside it list is known to be made by rebuilds. `root` is the tree's. `task` is in the
    namespaces of the restore, if they are not this process's.
    """
    mounts = observe.read_mounts_at(root)
    memory = frozenset(mount.id for mount in mounts if mount.in_memory)
    paths = {path: _look(tree, path) for path in _plain_paths(manifest)}
    paths.update(_look_at_files(manifest.files, tree, memory, listener))
    return Facts(
        paths=paths,
        unheld=_unheld(manifest, tree, paths),
        ids=observe.read_ids(task),
        ports=observe.read_ports(task),
        socket_names=observe.read_socket_names(task),
        mounts=mounts,
        processor=observe.read_processor(),
        kernel=os.uname().release,
        made=read_made(journal.parent) if journal else frozenset(),
        own=read_own(journal) if journal else frozenset(),
        claimed=read_claims(journal) if journal else {},
        peers=_probe_peers(manifest, tree, paths),
        kept=find_kept(manifest, tree),
        locked=find_holders(manifest, tree),
        nvidia=None if manifest.nvidia is None else read_driver(tree),
        private_mounts=task is None and observe.has_private_mounts(),
    )


def _plain_paths(manifest: Manifest) -> Iterator[RawPath]:
    """Yield the paths at which the kind of node is enough to know."""
    for entries in (manifest.directories, manifest.fifos, manifest.symlinks, manifest.nodes):
        yield from (entry.path for entry in entries)
    for name in manifest.free_names:
        yield name.path
        yield from leftovers_of(name)
    yield from (
        socket.name for socket in manifest.sockets if socket.external and socket.name.startswith(b"/")
    )


def _probe_peers(manifest: Manifest, tree: Tree, paths: Mapping[RawPath, Seen]) -> dict[RawPath, Peer]:
    """Find out who is at the names of external peers that can be reached."""
    names = {socket.name for socket in manifest.sockets if socket.external}
    return {
        name: probe_peer(tree, name)
        for name in names
        if name.startswith(b"\0") or (name in paths and paths[name].obstacle is None)
    }


def _unheld(manifest: Manifest, tree: Tree, paths: Mapping[RawPath, Seen]) -> dict[RawPath, Unheld]:
    """Find out what of the metadata to be made will not fit; most files have none that might not."""
    found = {path: _try(tree, path, metadata) for path, metadata in _to_be_made(manifest, paths)}
    return {path: unheld for path, unheld in found.items() if unheld is not None}


def _to_be_made(manifest: Manifest, paths: Mapping[RawPath, Seen]) -> Iterator[tuple[RawPath, Metadata]]:
    entries = [
        *((node.path, node.metadata) for node in manifest.directories),
        *((node.path, node.metadata) for node in manifest.fifos),
        *((node.path, node.metadata) for node in manifest.symlinks),
        *((file.names[0], file.metadata) for file in manifest.files if file.carried is not None),
    ]
    for path, metadata in entries:
        if (metadata.xattrs or metadata.flags) and paths[path] == Seen():
            yield path, metadata


def _try(tree: Tree, path: RawPath, metadata: Metadata) -> Unheld | None:
    """Try it in the nearest directory that is there; where that cannot be reached, the plan says so by itself."""
    while path != b"/":
        path = RawPath(path.rpartition(b"/")[0] or b"/")
        try:
            with tree.open(path, os.O_PATH | os.O_DIRECTORY) as directory:
                return find_unheld(directory, metadata)
        except FileNotFoundError:
            continue
        except (UnsafeLink, OSError):
            break
    return None


def _look(tree: Tree, path: RawPath) -> Seen:
    try:
        inode = tree.inspect(path)
        target = tree.readlink(path) if inode is not None and stat.S_ISLNK(inode.mode) else None
    except (UnsafeLink, OSError) as error:
        return Seen(obstacle=str(error))
    return Seen(inode, target=target)


def _look_at_files(
    files: tuple[FileEntry, ...], tree: Tree, memory: frozenset[int], listener: Listener
) -> Iterator[tuple[RawPath, Seen]]:
    meter = Meter(listener, Phase.COMPARE, (file.size for file in files for _ in file.names))
    for file in files:
        for name in file.names:
            with meter.file(name, file.size) as advance:
                seen = _look_at_file(tree, name, file, memory, advance)
            yield name, seen


def _look_at_file(
    tree: Tree, path: RawPath, entry: FileEntry, memory: frozenset[int], advance: Advance
) -> Seen:
    seen = _look(tree, path)
    if seen.inode is None or not stat.S_ISREG(seen.inode.mode):
        return seen
    try:
        with tree.open_file(path, os.O_RDONLY) as fd:
            inode = inspect_fd(fd)
            return Seen(
                inode,
                digest=_digest(fd, inode, entry, advance),
                build_id=_build_id(fd, inode, entry),
                held=observe.is_held(fd) if inode.mount in memory else None,
            )
    except (UnsafeLink, OSError) as error:
        return Seen(obstacle=str(error))


def _digest(fd: int, inode: Inode, entry: FileEntry, advance: Advance) -> str | None:
    """Digest the recorded length of a file whose content decides something: whether it is the same, or has grown."""
    too_short = inode.size < entry.size
    grown = entry.carried is None and inode.size != entry.size
    if (
        entry.digest is None
        or entry.demanded_size is None
        or too_short
        or grown
        or is_very_file(entry, inode)
    ):
        return None
    try:
        return digest_file(fd, entry.size, algorithm_of(entry.digest), advance)
    except ShortReadError:
        return None


def _build_id(fd: int, inode: Inode, entry: FileEntry) -> str | None:
    if entry.build_id is None or is_very_file(entry, inode):
        return None
    return read_build_id(fd)
