"""One raw image entry to one record.

Nothing here needs another entry or the file system. What this release does not know (a file type, a state, a flag) is kept
as its number; what no CRIU writes raises DamagedImage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmux.criu_images._entry import Entry
from llmux.criu_images._enums import MappingKind, RemapType, SeccompMode, TaskState, known
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import (
    Descriptor,
    FileId,
    FileLock,
    GhostFile,
    Mapping,
    Mount,
    Pid,
    PipeData,
    QueuedPacket,
    Remap,
    SocketInode,
    SysvSegment,
    TcpQueues,
)

# `status` of a mapping (image.h).
_VMA_FILE_PRIVATE = 1 << 6
_VMA_FILE_SHARED = 1 << 7
_VMA_AREA_SYSVIPC = 1 << 10
_VMA_AREA_SOCKET = 1 << 11
_VMA_AREA_MEMFD = 1 << 14
_VMA_EXT_PLUGIN = 1 << 27

_REMAP_GHOST = 1 << 31  # In the remap_id of dumps older than the remap_type field (image.h).
_SCM_RIGHTS = 1


@dataclass(frozen=True, slots=True)
class DumpHeader:
    """`inventory_entry`."""

    image_version: int
    descriptors_by_table: bool
    """`fdinfo-N.img` is named by the descriptor table's id, not by a PID."""
    plugins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TreeItem:
    """`pstree_entry`."""

    pid: Pid
    ppid: Pid
    pgid: Pid
    sid: Pid
    threads: tuple[Pid, ...]


@dataclass(frozen=True, slots=True)
class Core:
    """`core_entry` of a thread-group leader."""

    comm: str
    state: TaskState | int
    seccomp: SeccompMode | int


@dataclass(frozen=True, slots=True)
class Memory:
    """`mm_entry`."""

    exe: FileId
    mappings: tuple[Mapping, ...]


@dataclass(frozen=True, slots=True)
class Directories:
    """`fs_entry`."""

    cwd: FileId
    root: FileId


@dataclass(frozen=True, slots=True)
class MemfdInode:
    """`memfd_inode_entry`."""

    id: int
    name: RawPath
    size: int


def decode_inventory(entry: Entry) -> DumpHeader:
    plugins = entry.maybe_nested("plugins_entry")
    return DumpHeader(
        image_version=entry.number("img_version"),
        descriptors_by_table=entry.flag("fdinfo_per_id"),
        plugins=() if plugins is None else tuple(map(escape, plugins.raws("plugins"))),
    )


def decode_tree_item(entry: Entry) -> TreeItem:
    pid = Pid(entry.number("pid"))
    return TreeItem(
        pid=pid,
        ppid=Pid(entry.number("ppid")),
        pgid=Pid(entry.number("pgid")),
        sid=Pid(entry.number("sid")),
        # The first is the leader: CRIU skips it (`read_one_pstree_item`), and for a zombie writes memory it never set.
        threads=(pid, *map(Pid, entry.numbers("threads")[1:])),
    )


def decode_core(entry: Entry) -> Core:
    task = entry.nested("tc")
    thread = entry.maybe_nested("thread_core")
    mode = None if thread is None else thread.maybe_number("seccomp_mode")
    return Core(
        comm=escape(task.raw("comm")),
        state=known(TaskState, task.number("task_state")),
        seccomp=known(SeccompMode, mode or task.maybe_number("old_seccomp_mode") or 0),
    )


def decode_descriptor_table_id(entry: Entry) -> int:
    """Return `files_id` of a `task_kobj_ids_entry`."""
    return entry.number("files_id")


def decode_memory(entry: Entry) -> Memory:
    return Memory(FileId(entry.number("exe_file_id")), tuple(_mappings(entry)))


def _mappings(entry: Entry) -> Iterator[Mapping]:
    for area in entry.each("vmas"):
        kind = _mapping_kind(area.number("status"))
        if kind is not None:
            yield _mapping(area, kind)


def _mapping_kind(status: int) -> MappingKind | None:
    """Tell what backs a mapping; None for anonymous memory and the kernel's own areas.

    A socket's mapping needs nothing but the socket, which a descriptor names (`dump_socket_map`).
    """
    if status & _VMA_AREA_SYSVIPC:
        return MappingKind.SYSV
    if status & _VMA_AREA_SOCKET or not status & (_VMA_FILE_PRIVATE | _VMA_FILE_SHARED):
        return None
    if status & _VMA_EXT_PLUGIN:
        return MappingKind.PLUGIN
    if status & _VMA_AREA_MEMFD:
        return MappingKind.MEMFD
    return MappingKind.FILE_SHARED if status & _VMA_FILE_SHARED else MappingKind.FILE_PRIVATE


def _mapping(area: Entry, kind: MappingKind) -> Mapping:
    start, end = area.number("start"), area.number("end")
    if end <= start:
        raise area.damaged("end", f"{end:x} is not above the start {start:x}")
    return Mapping(
        start=start,
        end=end,
        offset=area.number("pgoff"),
        protection=area.number("prot"),
        flags=area.number("flags"),
        kind=kind,
        file=None if kind is MappingKind.SYSV else FileId(area.number("shmid")),
    )


def decode_directories(entry: Entry) -> Directories:
    return Directories(cwd=FileId(entry.number("cwd_id")), root=FileId(entry.number("root_id")))


def decode_descriptor(entry: Entry) -> Descriptor:
    return Descriptor(fd=entry.number("fd"), file=FileId(entry.number("id")), flags=entry.number("flags"))


def decode_remap(entry: Entry) -> Remap:
    original, remap_id = FileId(entry.number("orig_id")), entry.number("remap_id")
    number = entry.maybe_number("remap_type")
    if number is None:  # As in `collect_one_remap`.
        ghost = bool(remap_id & _REMAP_GHOST)
        return Remap(original, remap_id & ~_REMAP_GHOST, RemapType.GHOST if ghost else RemapType.LINKED)
    return Remap(original, remap_id, known(RemapType, number))


def decode_ghost(entry: Entry, number: int, content: int) -> GhostFile:
    """Decode `ghost-file-<number>.img`, of which `content` bytes follow the entry."""
    size = entry.maybe_number("size")
    return GhostFile(
        number=number,
        mode=entry.number("mode"),
        uid=entry.number("uid"),
        gid=entry.number("gid"),
        # Small files are stored whole, without a size (`dump_ghost_file`).
        size=content if size is None else size,
        device=entry.maybe_number("dev"),
        inode=entry.maybe_number("ino"),
        symlink_target=entry.maybe_path("symlnk_target"),
    )


def decode_packet(entry: Entry) -> QueuedPacket:
    rights = (
        FileId(right)
        for message in entry.each("scm")
        if message.number("type") == _SCM_RIGHTS
        for right in message.numbers("rights")
    )
    return QueuedPacket(FileId(entry.number("id_for")), entry.number("length"), tuple(rights))


def decode_pipe_data(entry: Entry) -> PipeData:
    return PipeData(entry.number("pipe_id"), entry.number("bytes"))


def decode_tcp_stream(entry: Entry, inode: SocketInode) -> TcpQueues:
    return TcpQueues(inode, received=entry.number("inq_len"), unsent=entry.number("outq_len"))


def decode_memfd_inode(entry: Entry) -> MemfdInode:
    return MemfdInode(entry.number("inode_id"), entry.path("name"), entry.number("size"))


def decode_lock(entry: Entry) -> FileLock:
    return FileLock(
        kind=entry.number("flag"),
        type=entry.number("type"),
        pid=Pid(entry.number("pid")),
        fd=entry.number("fd"),
        start=entry.number("start"),
        length=entry.number("len"),
    )


def decode_mount(entry: Entry) -> Mount:
    return Mount(
        id=entry.number("mnt_id"),
        parent=entry.number("parent_mnt_id"),
        fstype=entry.number("fstype"),
        root=entry.path("root"),
        mountpoint=entry.path("mountpoint"),
        source=entry.path("source"),
    )


def decode_sysv_segment(entry: Entry) -> SysvSegment:
    description = entry.nested("desc")
    return SysvSegment(
        key=description.number("key"),
        id=description.number("id"),
        size=entry.number("size"),
        mode=description.number("mode"),
    )
