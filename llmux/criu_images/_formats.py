"""The kinds of images of CRIU 3.17 to 4.2: how each is laid out, and which file holds which kind.

The list is CRIU's `image-desc.c`. An image of no name here is none that this release knows.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass

from llmux.criu_images._entry import Entry


@dataclass(frozen=True, slots=True)
class Parts:
    """Entries of another message that follow an entry: how many, and the bytes after each."""

    message: str
    count: Callable[[Entry], int]
    payload: Callable[[Entry], int]


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """One kind of image."""

    magic: str
    """Its name in pycriu's `magic.by_name`."""
    message: str
    payload: Callable[[Entry], int] | None = None
    """How many bytes follow an entry; None where none do."""
    single: bool = False
    """Only the first entry counts; whatever follows it is payload."""
    parts: Parts | None = None


def _words(entry: Entry, name: str, size: int, unit: int) -> int:
    """Round `size` bytes for each of a field's number up to whole units."""
    return -(-entry.number(name) * size // unit) * unit


def _segment_size(entry: Entry) -> int:
    """Tell how much of a System V segment follows its entry (`dump_ipc_shm_seg`: whole words, or pages elsewhere)."""
    return 0 if entry.flag("in_pagemaps") else _words(entry, "size", 1, 4)


def _pairs_size(entry: Entry) -> int:
    return entry.number("keys_bytes") + entry.number("values_bytes")


INVENTORY = ImageFormat("INVENTORY", "inventory_entry", single=True)
PSTREE = ImageFormat("PSTREE", "pstree_entry")
CORE = ImageFormat("CORE", "core_entry")
IDS = ImageFormat("IDS", "task_kobj_ids_entry")
CREDS = ImageFormat("CREDS", "creds_entry")
MM = ImageFormat("MM", "mm_entry")
FS = ImageFormat("FS", "fs_entry")
FDINFO = ImageFormat("FDINFO", "fdinfo_entry")
FILES = ImageFormat("FILES", "file_entry")
TTY_INFO = ImageFormat("TTY_INFO", "tty_info_entry")
REMAP_FPATH = ImageFormat("REMAP_FPATH", "remap_file_path_entry")
GHOST_FILE = ImageFormat("GHOST_FILE", "ghost_file_entry", single=True)
MEMFD_INODE = ImageFormat("MEMFD_INODE", "memfd_inode_entry")
FILE_LOCKS = ImageFormat("FILE_LOCKS", "file_lock_entry")
TCP_STREAM = ImageFormat("TCP_STREAM", "tcp_stream_entry", single=True)
SK_QUEUES = ImageFormat("SK_QUEUES", "sk_packet_entry", lambda entry: entry.number("length"))
PIPES_DATA = ImageFormat("PIPES_DATA", "pipe_data_entry", lambda entry: entry.number("bytes"))
FIFO_DATA = ImageFormat("FIFO_DATA", "pipe_data_entry", lambda entry: entry.number("bytes"))
BPFMAP_DATA = ImageFormat("BPFMAP_DATA", "bpfmap_data_entry", _pairs_size)
CGROUP = ImageFormat("CGROUP", "cgroup_entry")
SECCOMP = ImageFormat("SECCOMP", "seccomp_entry")
CPUINFO = ImageFormat("CPUINFO", "cpuinfo_entry")
MNTS = ImageFormat("MNTS", "mnt_entry")
NETDEV = ImageFormat("NETDEV", "net_device_entry")
NETNS = ImageFormat("NETNS", "netns_entry")
UTSNS = ImageFormat("UTSNS", "utsns_entry")
USERNS = ImageFormat("USERNS", "userns_entry")
PIDNS = ImageFormat("PIDNS", "pidns_entry")
TIMENS = ImageFormat("TIMENS", "timens_entry")
IPCNS_SHM = ImageFormat("IPCNS_SHM", "ipc_shm_entry", _segment_size)
IPCNS_SEM = ImageFormat("IPCNS_SEM", "ipc_sem_entry", lambda entry: _words(entry, "nsems", 2, 8))
IPCNS_MSG = ImageFormat(
    "IPCNS_MSG",
    "ipc_msg_entry",
    parts=Parts("ipc_msg", lambda entry: entry.number("qnum"), lambda entry: _words(entry, "msize", 1, 8)),
)
AUTOFS = ImageFormat("AUTOFS", "autofs_entry")
BINFMT_MISC = ImageFormat("BINFMT_MISC", "binfmt_misc_entry")
STATS = ImageFormat("STATS", "stats_entry")
PAGEMAP = ImageFormat("PAGEMAP", "pagemap_entry")
"""Its first entry is a `pagemap_head`, whose one field has the number and wire type of `vaddr`."""


class LeftAlone(enum.Enum):
    """Why an image that is known is not read."""

    PAGES = "memory pages"
    RAW = "not CRIU's own format: a tar archive, netlink messages, firewall rules"
    CONTENT = "contents alone, needed by CRIU only"


Reading = ImageFormat | LeftAlone

_N = r"[0-9]{1,20}"
_X = r"[0-9a-f]{1,16}"
_BY_NAME: tuple[tuple[str, Reading], ...] = (
    (r"inventory", INVENTORY),
    (r"pstree", PSTREE),
    (rf"core-{_N}", CORE),
    (rf"ids-{_N}", IDS),
    (rf"creds-{_N}", CREDS),
    (rf"mm-{_N}", MM),
    (rf"fs-{_N}", FS),
    (rf"fdinfo-{_N}", FDINFO),
    (r"files", FILES),
    (r"tty-info", TTY_INFO),
    (r"remap-fpath", REMAP_FPATH),
    (rf"ghost-file-{_X}", GHOST_FILE),
    (r"memfd", MEMFD_INODE),
    (r"filelocks", FILE_LOCKS),
    (rf"tcp-stream-{_X}", TCP_STREAM),
    (r"sk-queues", SK_QUEUES),
    (r"pipes-data", PIPES_DATA),
    (r"fifo-data", FIFO_DATA),
    (r"bpfmap-data", BPFMAP_DATA),
    (r"cgroup", CGROUP),
    (r"seccomp", SECCOMP),
    (r"cpuinfo", CPUINFO),
    (rf"mountpoints-{_N}", MNTS),
    (rf"netdev-{_N}", NETDEV),
    (rf"netns-{_N}", NETNS),
    (rf"utsns-{_N}", UTSNS),
    (rf"userns-{_N}", USERNS),
    (rf"pidns-{_N}", PIDNS),
    (rf"timens-{_N}", TIMENS),
    (rf"ipcns-shm-{_N}", IPCNS_SHM),
    (rf"ipcns-sem-{_N}", IPCNS_SEM),
    (rf"ipcns-msg-{_N}", IPCNS_MSG),
    (rf"autofs-{_N}", AUTOFS),
    (rf"binfmt-misc(-{_N})?", BINFMT_MISC),
    (rf"pagemap-(shmem-)?{_N}", LeftAlone.PAGES),
    (rf"pages-(shmem-)?{_N}", LeftAlone.PAGES),
    (rf"(ifaddr|route|route6|rule|iptables|ip6tables|nftables|netns-ct|netns-exp)-{_N}", LeftAlone.RAW),
    (rf"tmpfs-(dev-)?{_N}\.tar\.gz", LeftAlone.RAW),
    (rf"ipcns-var-{_N}", LeftAlone.CONTENT),
    (r"tty-data", LeftAlone.CONTENT),
    (r"apparmor", LeftAlone.CONTENT),
    # CRIU up to 3.x wrote these apart from core-N.img and files.img; where those are there, they say the same.
    (rf"(vmas|sigacts|itimers|posix-timers|rlimit|signal-[sp])-{_N}", LeftAlone.CONTENT),
    (r"stats-[a-z]+", LeftAlone.CONTENT),
    (r"irmap-cache", LeftAlone.CONTENT),
)
_NAMES = tuple((re.compile(pattern + r"\.img"), reading) for pattern, reading in _BY_NAME)


def reading_of(name: str) -> Reading | None:
    """Tell how an image of this name is read; None for a name that no CRIU up to 4.2 gives."""
    for pattern, reading in _NAMES:
        if pattern.fullmatch(name):
            return reading
    return None
