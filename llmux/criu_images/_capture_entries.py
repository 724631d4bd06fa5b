"""The manifest's entries that need no look at the file system: sockets, ports, mounts, and where the dump was made."""

from __future__ import annotations

import enum
import os
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from llmux.criu_images import _observe as observe
from llmux.criu_images._enums import NamespaceKind
from llmux.criu_images._facts import MountPoint
from llmux.criu_images._ids import NamespaceId
from llmux.criu_images._inventory import Inventory, PortReference, SocketReference
from llmux.criu_images._metadata import read_metadata
from llmux.criu_images._needs import NeedKind
from llmux.criu_images._nvidia import CUDA_PLUGIN, NvidiaDriver, is_cuda, is_made_by_driver, library_version
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Pid
from llmux.criu_images._safefs import Tree
from llmux.criu_images._users import User
from llmux.criu_images.errors import UnsafeLink
from llmux.criu_images.manifest import (
    FileEntry,
    Host,
    LockEntry,
    LockKind,
    Metadata,
    MountEntry,
    Origin,
    PortEntry,
    SocketEntry,
)


def host_entry(criu_version: str | None) -> Host:
    processor, system = observe.read_processor(), os.uname()
    return Host(
        name=socket.gethostname(),
        kernel=system.release,
        machine=system.machine,
        cpu_model=processor.model,
        cpu_features=tuple(sorted(processor.features)),
        criu=criu_version,
        llmux=_own_version(),
    )


def nvidia_entry(driver: NvidiaDriver | None, inventory: Inventory) -> NvidiaDriver | None:
    """Return what is recorded of the node's driver: nothing where the dump has nothing of it, and no GPUs where no process had loaded CUDA."""
    if driver is None:
        return None
    paths = {reference.path for reference in inventory.paths}
    by_plugin = any((need.kind, need.what) == (NeedKind.PLUGIN, CUDA_PLUGIN) for need in inventory.needs)
    if by_plugin or any(map(is_cuda, paths)):
        return driver
    used = any(is_made_by_driver(path) or library_version(path) == driver.version for path in paths)
    return replace(driver, gpus=()) if used else None


def _own_version() -> str:
    try:
        return version("llmux")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"


def socket_entries(inventory: Inventory, tree: Tree) -> tuple[SocketEntry, ...]:
    own = _own_networks(inventory)
    return tuple(_socket_entry(one, tree, own) for one in inventory.sockets)


def port_entries(inventory: Inventory) -> tuple[PortEntry, ...]:
    """Return the ports that must be free: all but those in a network namespace that CRIU makes anew."""
    own = _own_networks(inventory)
    return tuple(_port_entry(one) for one in inventory.ports if one.socket.namespace not in own)


_LOCK_KINDS = {1: LockKind.POSIX, 2: LockKind.FLOCK, 4: LockKind.OFD, 8: LockKind.LEASE}
"""FL_* of CRIU's file-lock.h."""
_READ, _WRITE, _BREAKING = 0, 1, 4
"""F_RDLCK, F_WRLCK, and LEASE_BREAKING of CRIU's file-lock.h."""


def lock_entries(inventory: Inventory) -> Iterator[LockEntry]:
    """Yield the locks that a restore takes again; one that is mandatory (LOCK_MAND) no newer kernel knows."""
    for reference in inventory.locks:
        lock = reference.lock
        kind = _LOCK_KINDS.get(lock.kind)
        # A lease that is being broken is taken as a write lease first (`restore_lease_prebreaking_state`).
        breaking = kind is LockKind.LEASE and bool(lock.type & _BREAKING)
        sane = min(lock.start, lock.length, lock.fd) >= 0
        if kind is not None and sane and (breaking or lock.type in {_READ, _WRITE}):
            yield LockEntry(
                path=reference.path,
                kind=kind,
                exclusive=breaking or lock.type == _WRITE,
                start=lock.start,
                length=lock.length,
                pid=lock.pid,
                fd=lock.fd,
            )


def _own_networks(inventory: Inventory) -> frozenset[NamespaceId | None]:
    return frozenset(own.id for own in inventory.namespaces if own.kind is NamespaceKind.NET)


def _socket_entry(
    reference: SocketReference, tree: Tree, own_networks: frozenset[NamespaceId | None]
) -> SocketEntry:
    unix, peer = reference.socket, reference.peer
    return SocketEntry(
        inode=unix.inode,
        type=_name_of(unix.type),
        state=_name_of(unix.state),
        name=unix.name,
        bind_path=reference.bind_path,
        abstract=unix.abstract,
        external=unix.external,
        peer=unix.peer,
        peer_name=peer.name if peer else None,
        pids=_pids(reference.users),
        node=_read_node(unix.name, tree) if unix.external and unix.name.startswith(b"/") else None,
        own_network=unix.namespace in own_networks,
    )


def _read_node(path: RawPath, tree: Tree) -> Metadata | None:
    """Read how an external peer's socket is; the peer may have bound it where this mount namespace has nothing."""
    with suppress(OSError, UnsafeLink), tree.open(path, os.O_PATH) as fd:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            return read_metadata(fd)
    return None


def _port_entry(reference: PortReference) -> PortEntry:
    inet = reference.socket
    return PortEntry(
        family=inet.family,
        protocol=inet.protocol,
        type=_name_of(inet.type),
        address=inet.source,
        port=inet.source_port,
        v6only=inet.v6only,
        pids=_pids(reference.users),
    )


def _name_of(value: enum.Enum | int) -> str:
    return value.name if isinstance(value, enum.Enum) else str(value)


def _pids(users: tuple[User, ...]) -> tuple[Pid, ...]:
    return tuple(sorted({user.pid for user in users}))


def mount_entries(mounts: Iterable[MountPoint], files: tuple[FileEntry, ...]) -> tuple[MountEntry, ...]:
    needed = {file.mount for file in files if file.origin is Origin.VOLUME and file.carried is None}
    return tuple(
        MountEntry(
            mountpoint=mount.mountpoint,
            root=mount.root,
            fstype=mount.fstype,
            source=mount.source,
            needed=mount.mountpoint in needed,
        )
        for mount in mounts
    )


def sizes_without_digest(files: Iterable[FileEntry]) -> list[int]:
    """Return the sizes of those that only a digest would tell apart: a library of the driver's is known by its version."""
    return [file.size for file in files if file.digest is None and file.origin is not Origin.NODE]
