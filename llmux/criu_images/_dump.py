"""A directory or an archive of CRIU images to one decoded Dump.

Memory pages are never read: nothing here needs those of this dump, nor those of the earlier dumps that a `parent` link leads to.
Ids that lead from one image to another are checked here, so whoever works with a Dump may follow them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final

from llmux.criu_images import _decode as decode
from llmux.criu_images import _decode_kernel as kernel
from llmux.criu_images import _formats as formats
from llmux.criu_images._decode_files import decode_file
from llmux.criu_images._dump_tasks import Files, read_tasks
from llmux.criu_images._entry import Entry
from llmux.criu_images._enums import RemapType
from llmux.criu_images._ids import FileId, NamespaceId, SocketInode
from llmux.criu_images._records import (
    Cgroups,
    Dump,
    ExternalNamespace,
    Fifo,
    File,
    GhostFile,
    Memfd,
    OtherFile,
    PipeData,
    RegularFile,
    Remap,
    TcpQueues,
    Terminal,
    TerminalInfo,
    TunFile,
    Unknown,
)
from llmux.criu_images._source import Images, Source, open_source
from llmux.criu_images._wire import name_of_magic
from llmux.criu_images.errors import DamagedImage

_FILES: Final = "files.img"
_REMAPS: Final = "remap-fpath.img"
_NODE: Final = 1 << 32
"""Added to the id of a regular-file entry that shares its id with the FIFO, terminal or tun file whose node it is."""


def read_dump(path: str | os.PathLike[str]) -> Dump:
    """Read a whole dump, apart from its memory pages, from the directory of its images or from a checkpoint archive.

    An archive is a tar as podman and CRI-O export it, plain or packed by gzip or zstd. Raises NotADump, ArchiveRefused, DependencyMissing, UnreadableImage, DamagedImage, PycriuMissing or PycriuIncompatible.
    """
    with closing(open_source(os.fspath(path))) as source:
        return _read(Images(source))


def _read(images: Images) -> Dump:
    header = decode.decode_inventory(images.one("inventory.img", formats.INVENTORY))
    files = _read_files(images)
    remaps = _read_remaps(images, files)
    tasks = read_tasks(images, files, descriptors_by_table=header.descriptors_by_table)
    dump = Dump(
        image_version=header.image_version,
        root_task=tasks[0].pid,
        files=files.by_id,
        remaps=remaps,
        ghosts=_read_ghosts(images, remaps),
        packets=tuple(map(decode.decode_packet, images.maybe("sk-queues.img", formats.SK_QUEUES))),
        tasks=tasks,
        locks=tuple(map(kernel.decode_lock, images.maybe("filelocks.img", formats.FILE_LOCKS))),
        mounts=(),
        pipe_data=_read_pipe_data(images),
        tcp_queues=_read_tcp_queues(images),
        plugins=header.plugins,
        unknown=(*files.unknown, *_unknown_remaps(remaps), *_unknown_images(images.source)),
        outer_namespaces=header.outer_namespaces,
        lsm=header.lsm,
        tcp_close=header.tcp_close,
        outer_cgroup_set=header.outer_cgroup_set,
        parents=images.source.parents(),
    )
    return _with_namespaces(_with_kernel(dump, images), images)


def _with_kernel(dump: Dump, images: Images) -> Dump:
    """Add what belongs to no namespace of the dump's own."""
    cgroups = images.maybe_one("cgroup.img", formats.CGROUP)
    filters = images.maybe_one("seccomp.img", formats.SECCOMP)
    cpus = images.maybe_one("cpuinfo.img", formats.CPUINFO)
    binary_formats = images.maybe("binfmt-misc.img", formats.BINFMT_MISC)
    return replace(
        dump,
        cgroups=Cgroups() if cgroups is None else kernel.decode_cgroups(cgroups),
        seccomp_filters=() if filters is None else kernel.decode_seccomp_filters(filters),
        cpus=() if cpus is None else kernel.decode_cpus(cpus),
        autofs_mounts=tuple(
            kernel.decode_autofs_mount(entry, mount)
            for mount, entry in images.numbered("autofs", formats.AUTOFS)
        ),
        binary_formats=tuple(map(kernel.decode_binary_format, binary_formats)),
    )


def _with_namespaces(dump: Dump, images: Images) -> Dump:
    """Add what is in the namespaces that the dump owns; their images are named by their ids."""

    def each(prefix: str, image_format: formats.ImageFormat) -> Iterator[tuple[Entry, NamespaceId]]:
        return ((entry, NamespaceId(number)) for number, entry in images.numbered(prefix, image_format))

    return replace(
        dump,
        mounts=tuple(kernel.decode_mount(*found) for found in each("mountpoints", formats.MNTS)),
        sysv_segments=tuple(
            kernel.decode_sysv_segment(entry) for entry, _ in each("ipcns-shm", formats.IPCNS_SHM)
        ),
        sysv_queues=tuple(
            kernel.decode_sysv_queue(entry) for entry, _ in each("ipcns-msg", formats.IPCNS_MSG)
        ),
        sysv_semaphores=tuple(
            kernel.decode_sysv_semaphores(entry) for entry, _ in each("ipcns-sem", formats.IPCNS_SEM)
        ),
        host_names=tuple(kernel.decode_host_name(*found) for found in each("utsns", formats.UTSNS)),
        user_namespaces=tuple(
            kernel.decode_user_namespace(*found) for found in each("userns", formats.USERNS)
        ),
        time_offsets=tuple(kernel.decode_time_offsets(*found) for found in each("timens", formats.TIMENS)),
        net_devices=tuple(kernel.decode_net_device(*found) for found in each("netdev", formats.NETDEV)),
        external_namespaces=tuple(_external_namespaces(images)),
    )


def _external_namespaces(images: Images) -> Iterator[ExternalNamespace]:
    for kind, image_format in (("pid", formats.PIDNS), ("net", formats.NETNS)):
        for number, entry in images.numbered(f"{kind}ns", image_format):
            if found := kernel.decode_external_namespace(entry, kind, NamespaceId(number)):
                yield found


def _read_files(images: Images) -> Files:
    inodes = map(decode.decode_memfd_inode, images.maybe("memfd.img", formats.MEMFD_INODE))
    terminals = map(decode.decode_terminal_info, images.maybe("tty-info.img", formats.TTY_INFO))
    joiner = _Joiner({inode.id: inode for inode in inodes}, {info.id: info for info in terminals})
    for entry in images.all(_FILES, formats.FILES):
        joiner.add(entry)
    return Files(joiner.by_id, tuple(joiner.unknown))


class _Joiner:
    """Gathers the entries of files.img by id, each with the facts of its memfd's or terminal's own entry."""

    def __init__(self, memfds: dict[int, decode.MemfdInode], terminals: dict[int, TerminalInfo]) -> None:
        self._memfds = memfds
        self._terminals = terminals
        self.by_id: dict[FileId, File] = {}
        self.unknown: list[Unknown] = []

    def add(self, entry: Entry) -> None:
        file = decode_file(entry)
        match file:
            case Memfd() | Terminal():
                file = self._joined(file)
            case OtherFile():
                self._report(entry, file)
            case _:
                pass
        other = self.by_id.setdefault(file.id, file)
        if other is not file and not self._is_node_of(file, other) and not self._is_node_of(other, file):
            self.unknown.append(
                Unknown(_FILES, entry.index, f"file id {file.id:#x} is used twice; the first counts")
            )

    def _report(self, entry: Entry, file: OtherFile) -> None:
        if isinstance(file.type, int):
            why = f"file {file.id:#x} is of type {file.type}, unknown here"
            self.unknown.append(Unknown(_FILES, entry.index, why))

    def _joined(self, file: Memfd | Terminal) -> File:
        if isinstance(file, Memfd):
            inode = self._memfds.get(file.inode)
            return file if inode is None else _with_inode(file, inode)
        terminal = self._terminals.get(file.info)
        return file if terminal is None else replace(file, terminal=terminal)

    def _is_node_of(self, node: File, file: File) -> bool:
        """Keep two entries of one id apart where one is the node that the other was opened by: CRIU looks both up by type too."""
        if not isinstance(node, RegularFile) or not isinstance(file, Fifo | Terminal | TunFile):
            return False
        moved = FileId(node.id | _NODE)
        self.by_id[moved] = replace(node, id=moved)
        self.by_id[file.id] = replace(file, regular_file=moved)
        return True


def _with_inode(file: Memfd, inode: decode.MemfdInode) -> Memfd:
    return replace(file, name=inode.name, size=inode.size, seals=inode.seals, huge_page=inode.huge_page)


def _read_remaps(images: Images, files: Files) -> tuple[Remap, ...]:
    return tuple(_read_remap(entry, files) for entry in images.maybe(_REMAPS, formats.REMAP_FPATH))


def _read_remap(entry: Entry, files: Files) -> Remap:
    remap = decode.decode_remap(entry)
    files.require(remap.original, _REMAPS, "orig_id", entry.index)
    if remap.type is RemapType.LINKED:
        files.require(FileId(remap.remap_id), _REMAPS, "remap_id", entry.index)
    return remap


def _unknown_remaps(remaps: Iterable[Remap]) -> Iterator[Unknown]:
    for number, remap in enumerate(remaps):
        if isinstance(remap.type, int):
            yield Unknown(
                _REMAPS,
                number,
                f"the remap of file {remap.original:#x} is of type {remap.type}, unknown here",
            )


def _unknown_images(source: Source) -> Iterator[Unknown]:
    """Report images that no CRIU up to 4.2 writes; what they hold may matter."""
    for name in source.names():
        if name.endswith(".img") and formats.reading_of(name) is None:
            yield Unknown(name, 0, f"no image of this name is known here: {name_of_magic(source.head(name))}")


def _read_ghosts(images: Images, remaps: Iterable[Remap]) -> dict[int, GhostFile]:
    numbers = sorted({remap.remap_id for remap in remaps if remap.type is RemapType.GHOST})
    return {number: _read_ghost(images, number) for number in numbers}


def _read_ghost(images: Images, number: int) -> GhostFile:
    name = f"ghost-file-{number:x}.img"
    entry = images.one(name, formats.GHOST_FILE)
    content = images.source.size(name) - entry.end
    if content < 0:
        raise DamagedImage(name, "it got shorter while it was read")
    return decode.decode_ghost(entry, number, content)


def _read_pipe_data(images: Images) -> tuple[PipeData, ...]:
    pipes = map(decode.decode_pipe_data, images.maybe("pipes-data.img", formats.PIPES_DATA))
    fifos = map(decode.decode_pipe_data, images.maybe("fifo-data.img", formats.FIFO_DATA))
    return (*pipes, *fifos)


def _read_tcp_queues(images: Images) -> tuple[TcpQueues, ...]:
    """Read what waits in connections: `tcp-stream-X.img` is named by the socket's inode, in hex."""
    return tuple(
        decode.decode_tcp_stream(entry, SocketInode(int(name[len("tcp-stream-") : -len(".img")], 16)))
        for name in images.source.names()
        if formats.reading_of(name) is formats.TCP_STREAM
        for entry in images.maybe(name, formats.TCP_STREAM)
    )
