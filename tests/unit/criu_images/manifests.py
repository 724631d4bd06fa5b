"""Small manifests and facts for the tests of the write side."""

from __future__ import annotations

import stat
from datetime import UTC, datetime

from llmux.criu_images._facts import Facts, Inode, MountPoint, Processor, Seen
from llmux.criu_images._paths import RawPath
from llmux.criu_images.manifest import (
    DirectoryEntry,
    FifoEntry,
    FileEntry,
    FreeKind,
    FreeName,
    Host,
    Manifest,
    Metadata,
    NodeEntry,
    Origin,
    PortEntry,
    SocketEntry,
    SymlinkEntry,
    fingerprint_of,
)

DIGEST = "sha256:" + "ab" * 32
OTHER_DIGEST = "sha256:" + "cd" * 32
HOST = Host(
    name="a",
    kernel="6.18",
    machine="x86_64",
    cpu_model="EPYC",
    cpu_features=("avx2", "sse2"),
    criu="4.2",
    llmux="0.1.0",
)


def raw(path: str) -> RawPath:
    return RawPath(path.encode())


def metadata(mode: int) -> Metadata:
    return Metadata(mode=mode, uid=0, gid=0, mtime_ns=5, atime_ns=5)


def manifest(**parts) -> Manifest:
    whole = {
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "root_task": 1000,
        "ids": (),
        "container_started_ns": 0,
        "container_started_by": "a test",
        "host": HOST,
        "directories": (),
        "files": (),
        "fingerprint": fingerprint_of(()),
    }
    return Manifest(**(whole | parts)).sealed()


def file_entry(*names: str, **parts) -> FileEntry:
    whole = {
        "names": tuple(map(raw, names)),
        "origin": Origin.RUN_TIME,
        "reason": "born later",
        "mount": raw("/"),
        "metadata": metadata(stat.S_IFREG | 0o644),
        "size": 100,
        "demanded_size": 100,
        "demanded_mode": stat.S_IFREG | 0o644,
        "digest": DIGEST,
        "carried": "0",
    }
    return FileEntry(**(whole | parts))


def directory_entry(path: str, demanded_mode: int | None = None) -> DirectoryEntry:
    return DirectoryEntry(
        path=raw(path),
        origin=Origin.RUN_TIME,
        reason="born later",
        metadata=metadata(stat.S_IFDIR | 0o755),
        demanded_mode=demanded_mode,
    )


def fifo_entry(path: str) -> FifoEntry:
    return FifoEntry(
        path=raw(path), origin=Origin.RUN_TIME, reason="born later", metadata=metadata(stat.S_IFIFO | 0o600)
    )


def symlink_entry(path: str) -> SymlinkEntry:
    return SymlinkEntry(
        path=raw(path),
        target=raw("/run"),
        origin=Origin.RUN_TIME,
        reason="born later",
        metadata=metadata(stat.S_IFLNK | 0o777),
    )


def node_entry(path: str) -> NodeEntry:
    return NodeEntry(path=raw(path), reason="a device", mode=stat.S_IFCHR | 0o666, rdev=259)


def free_name(path: str, kind: FreeKind, remap_id: int | None = None) -> FreeName:
    return FreeName(path=raw(path), kind=kind, reason="CRIU makes it", remap_id=remap_id)


def port_entry(address: str, port: int, *, family: int = 2, v6only: bool = False) -> PortEntry:
    return PortEntry(
        family=family, protocol=6, type="STREAM", address=address, port=port, v6only=v6only, pids=(1000,)
    )


def socket_entry(name: bytes, *, external: bool = False) -> SocketEntry:
    return SocketEntry(
        inode=7,
        type="DGRAM",
        state="CLOSE",
        name=RawPath(name),
        bind_path=None,
        abstract=name.startswith(b"\0"),
        external=external,
        peer=None,
        peer_name=None,
        pids=(1000,),
    )


def inode(mode: int = stat.S_IFREG | 0o644, number: int = 1, size: int = 100, **parts) -> Inode:
    whole = {
        "mode": mode, "uid": 0, "gid": 0, "size": size, "blocks": 8, "links": 1, "device": 1, "number": number, "rdev": 0,
        "mtime_ns": 5, "atime_ns": 5, "birth_ns": 5, "mount": 1,
    }  # fmt: skip
    return Inode(**(whole | parts))


def seen_file(number: int = 1, digest: str = DIGEST, **parts) -> Seen:
    return Seen(inode(number=number, **parts), digest=digest)


def facts(paths: dict[str, Seen] | None = None, **parts) -> Facts:
    whole = {
        "paths": {raw(path): seen for path, seen in (paths or {}).items()},
        "mounts": (MountPoint(1, 0, "0:1", raw("/"), raw("/"), "overlay", raw("overlay")),),
        "processor": Processor("EPYC", frozenset({"avx2", "sse2"})),
        "kernel": "6.18",
    }
    return Facts(**(whole | parts))
