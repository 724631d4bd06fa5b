"""Raw entries of the images that belong to the whole dump to their records.

The rest is in modules beside this: `_decode_files` (files.img), `_decode_sockets`, `_decode_tasks`, `_decode_kernel`. Nothing here needs another entry or the file system. What this release does not know (a file type, a state, a flag) is kept
as its number; what no CRIU writes raises DamagedImage.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmux.criu_images._decode_tasks import decode_namespaces
from llmux.criu_images._entry import Entry
from llmux.criu_images._enums import LsmType, MemfdSeal, NamespaceKind, RemapType, TerminalType, known
from llmux.criu_images._ids import FileId, NamespaceId, Pid, SocketInode
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import (
    GhostFile,
    PipeData,
    QueuedPacket,
    Remap,
    TcpQueues,
    TerminalInfo,
)

_REMAP_GHOST = 1 << 31  # In the remap_id of dumps older than the remap_type field (image.h).
_SCM_RIGHTS = 1

# `hugetlb_flag` of a memfd: MFD_HUGETLB, and the logarithm of the page's size above it (memfd_create(2)).
_HUGETLB = 4
_HUGETLB_SHIFT, _HUGETLB_MASK = 26, 0x3F
_DEFAULT_HUGE_PAGE = 21  # 2 MiB; CRIU writes a size always, this is for a hand that did not.


@dataclass(frozen=True, slots=True)
class DumpHeader:
    """`inventory_entry`."""

    image_version: int
    descriptors_by_table: bool
    """`fdinfo-N.img` is named by the descriptor table's id, not by a PID."""
    plugins: tuple[str, ...]
    outer_namespaces: tuple[tuple[NamespaceKind, NamespaceId], ...]
    outer_cgroup_set: int | None
    lsm: LsmType | int
    tcp_close: bool


@dataclass(frozen=True, slots=True)
class TreeItem:
    """`pstree_entry`."""

    pid: Pid
    ppid: Pid
    pgid: Pid
    sid: Pid
    threads: tuple[Pid, ...]


@dataclass(frozen=True, slots=True)
class MemfdInode:
    """`memfd_inode_entry`."""

    id: int
    name: RawPath
    size: int
    seals: tuple[MemfdSeal, ...]
    huge_page: int | None


def decode_inventory(entry: Entry) -> DumpHeader:
    plugins, root = entry.maybe_nested("plugins_entry"), entry.maybe_nested("root_ids")
    return DumpHeader(
        image_version=entry.number("img_version"),
        descriptors_by_table=entry.flag("fdinfo_per_id"),
        plugins=() if plugins is None else tuple(map(escape, plugins.raws("plugins"))),
        outer_namespaces=() if root is None else decode_namespaces(root),
        outer_cgroup_set=entry.maybe_number("root_cg_set"),
        lsm=known(LsmType, entry.maybe_number("lsmtype") or 0),
        tcp_close=entry.flag("tcp_close"),
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
    seals = entry.number("seals")
    return MemfdInode(
        id=entry.number("inode_id"),
        name=entry.path("name"),
        size=entry.number("size"),
        seals=tuple(seal for seal in MemfdSeal if seals & seal.value),
        huge_page=_huge_page(entry.maybe_number("hugetlb_flag") or 0),
    )


def _huge_page(flag: int) -> int | None:
    if not flag & _HUGETLB:
        return None
    return 1 << (flag >> _HUGETLB_SHIFT & _HUGETLB_MASK or _DEFAULT_HUGE_PAGE)


def decode_terminal_info(entry: Entry) -> TerminalInfo:
    pty = entry.maybe_nested("pty")
    return TerminalInfo(
        id=entry.number("id"),
        type=known(TerminalType, entry.number("type")),
        sid=Pid(entry.number("sid")),
        pgid=Pid(entry.number("pgrp")),
        device=entry.number("rdev"),
        index=None if pty is None else pty.number("index"),
        locked=entry.flag("locked"),
        exclusive=entry.flag("exclusive"),
        packet_mode=entry.flag("packet_mode"),
    )
