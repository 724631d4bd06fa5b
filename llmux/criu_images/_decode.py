"""One raw image entry to one record.

Nothing here needs another entry or the file system. What this release does not know (a file type, a state, a flag) is kept
as its number; what no CRIU writes raises DamagedImage.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from llmux.criu_images._entry import Entry
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import (
    Descriptor,
    Fifo,
    File,
    FileId,
    FileLock,
    FileType,
    GhostFile,
    InetSocket,
    Mapping,
    MappingKind,
    Memfd,
    Mount,
    Notify,
    OtherFile,
    Pid,
    Pipe,
    PipeData,
    QueuedPacket,
    RegularFile,
    Remap,
    RemapType,
    SeccompMode,
    Shutdown,
    SocketInode,
    SocketState,
    SocketType,
    SysvSegment,
    TaskState,
    TcpQueues,
    Terminal,
    UnixSocket,
    Watch,
)

# `uflags` of a Unix socket (sk-unix.c).
_USK_EXTERN = 1 << 0
_USK_CALLBACK = 1 << 2

# `status` of a mapping (image.h).
_VMA_FILE_PRIVATE = 1 << 6
_VMA_FILE_SHARED = 1 << 7
_VMA_AREA_SYSVIPC = 1 << 10
_VMA_AREA_SOCKET = 1 << 11
_VMA_AREA_MEMFD = 1 << 14
_VMA_EXT_PLUGIN = 1 << 27

_REMAP_GHOST = 1 << 31  # In the remap_id of dumps older than the remap_type field (image.h).
_AF_INET, _AF_INET6 = 2, 10  # Linux's, on every architecture that CRIU supports.
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


_E = TypeVar("_E", bound=enum.Enum)


def _known(kind: type[_E], number: int) -> _E | int:
    """Return the enum's member, or the number itself where this release has no name for it."""
    try:
        return kind(number)
    except ValueError:
        return number


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
        state=_known(TaskState, task.number("task_state")),
        seccomp=_known(SeccompMode, mode or task.maybe_number("old_seccomp_mode") or 0),
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
    return Remap(original, remap_id, _known(RemapType, number))


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


def decode_file(entry: Entry) -> File:
    """Decode a `file_entry`; one of an unknown type becomes an OtherFile that carries its number."""
    file_type = _known(FileType, entry.number("type"))
    file_id = FileId(entry.number("id"))
    if isinstance(file_type, FileType) and (decoder := _FILE_DECODERS.get(file_type)):
        name, decode = decoder
        return decode(entry.nested(name), file_id)
    return OtherFile(file_id, file_type)


def _regular_file(entry: Entry, file_id: FileId) -> RegularFile:
    name, external = entry.path("name"), entry.flag("ext")
    if not external and not name.startswith(b"/"):
        raise entry.damaged("name", f"{escape(name)!r} is not an absolute path")
    words = entry.numbers("build_id")
    return RegularFile(
        id=file_id,
        name=name,
        flags=entry.number("flags"),
        pos=entry.number("pos"),
        size=entry.maybe_number("size"),
        mode=entry.maybe_number("mode"),
        build_id=b"".join(word.to_bytes(4, sys.byteorder) for word in words) or None,
        external=external,
    )


def _unix_socket(entry: Entry, file_id: FileId) -> UnixSocket:
    permissions = entry.maybe_nested("file_perms")
    user_flags = entry.number("uflags")
    peer = entry.number("peer")
    return UnixSocket(
        id=file_id,
        inode=SocketInode(entry.number("ino")),
        type=_known(SocketType, entry.number("type")),
        state=_known(SocketState, entry.number("state")),
        flags=entry.number("flags"),
        external=bool(user_flags & _USK_EXTERN),
        plugin=bool(user_flags & _USK_CALLBACK),
        backlog=entry.number("backlog"),
        peer=SocketInode(peer) if peer else None,
        name=_socket_name(entry.raw("name")),
        name_dir=entry.maybe_path("name_dir"),
        deleted=entry.flag("deleted"),
        mode=None if permissions is None else permissions.number("mode"),
        uid=None if permissions is None else permissions.number("uid"),
        gid=None if permissions is None else permissions.number("gid"),
        shutdown=_shutdown(entry),
    )


def _socket_name(name: bytes) -> RawPath:
    """Cut the name where the kernel does: a path at its first NUL, an abstract name not at all (unix(7))."""
    return RawPath(name if name.startswith(b"\0") else name.partition(b"\0")[0])


def _shutdown(entry: Entry) -> Shutdown:
    number = entry.maybe_number("shutdown") or 0
    try:
        return Shutdown(number)
    except ValueError:
        raise entry.damaged("shutdown", f"{number} is none of 0 to 3") from None


def _inet_socket(entry: Entry, file_id: FileId) -> InetSocket:
    options = entry.nested("opts")
    family = entry.number("family")
    return InetSocket(
        id=file_id,
        inode=SocketInode(entry.number("ino")),
        family=family,
        type=_known(SocketType, entry.number("type")),
        protocol=entry.number("proto"),
        state=_known(SocketState, entry.number("state")),
        source=_address(entry, family, "src_addr"),
        source_port=entry.number("src_port"),
        destination=_address(entry, family, "dst_addr"),
        destination_port=entry.number("dst_port"),
        backlog=entry.number("backlog"),
        v6only=entry.flag("v6only"),
        reuseaddr=options.flag("reuseaddr"),
        reuseport=options.flag("so_reuseport"),
    )


def _address(entry: Entry, family: int, name: str) -> str:
    """Write an address as inet_ntop(3) does: CRIU keeps network byte order in words of the dumping machine."""
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in entry.numbers(name))
    try:
        match family:
            case _ if family == _AF_INET:
                return str(IPv4Address(packed[:4]))
            case _ if family == _AF_INET6:
                return str(IPv6Address(packed))
            case _:
                return packed.hex()
    except ValueError:
        raise entry.damaged(name, f"{len(packed)} bytes are no address of family {family}") from None


def _fifo(entry: Entry, file_id: FileId) -> Fifo:
    node = entry.maybe_number("regf_id")
    return Fifo(file_id, entry.number("pipe_id"), file_id if node is None else FileId(node))


def _pipe(entry: Entry, file_id: FileId) -> Pipe:
    return Pipe(file_id, entry.number("pipe_id"), entry.number("flags"))


def _terminal(entry: Entry, file_id: FileId) -> Terminal:
    node = entry.maybe_number("regf_id")
    return Terminal(file_id, entry.number("tty_info_id"), None if node is None else FileId(node))


def _memfd(entry: Entry, file_id: FileId) -> Memfd:
    return Memfd(file_id, entry.number("inode_id"), RawPath(b""), None)


def _inotify(entry: Entry, file_id: FileId) -> Notify:
    return Notify(file_id, FileType.INOTIFY, tuple(_inotify_watch(watch) for watch in entry.each("wd")))


def _inotify_watch(entry: Entry) -> Watch:
    return Watch(
        descriptor=entry.number("wd"),
        inode=entry.number("i_ino"),
        device=entry.number("s_dev"),
        mask=entry.number("mask"),
        path=_absolute(entry.nested("f_handle").maybe_path("path")),
    )


def _fanotify(entry: Entry, file_id: FileId) -> Notify:
    return Notify(file_id, FileType.FANOTIFY, tuple(_fanotify_mark(mark) for mark in entry.each("mark")))


def _fanotify_mark(entry: Entry) -> Watch:
    inode, mount = entry.maybe_nested("ie"), entry.maybe_nested("me")
    holder = inode.nested("f_handle") if inode is not None else mount
    return Watch(
        descriptor=0,
        inode=0 if inode is None else inode.number("i_ino"),
        device=entry.number("s_dev"),
        mask=entry.number("mask"),
        path=None if holder is None else _absolute(holder.maybe_path("path")),
    )


def _absolute(path: RawPath | None) -> RawPath | None:
    """Put back the leading slash that CRIU leaves out of a mount mark's path."""
    return None if path is None else RawPath(b"/" + path.lstrip(b"/"))


_FILE_DECODERS: dict[FileType, tuple[str, Callable[[Entry, FileId], File]]] = {
    FileType.REG: ("reg", _regular_file),
    FileType.UNIXSK: ("usk", _unix_socket),
    FileType.INETSK: ("isk", _inet_socket),
    FileType.FIFO: ("fifo", _fifo),
    FileType.PIPE: ("pipe", _pipe),
    FileType.TTY: ("tty", _terminal),
    FileType.MEMFD: ("memfd", _memfd),
    FileType.INOTIFY: ("ify", _inotify),
    FileType.FANOTIFY: ("ffy", _fanotify),
}
"""The field of `file_entry` that holds each type, and what decodes it."""
