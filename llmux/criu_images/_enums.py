"""The numbers in CRIU's images that have names: types, states, kinds.

A number that has no name here stays a number in a record (`SocketType | int`); it is never an error.
"""

from __future__ import annotations

import enum
from typing import TypeVar


class SocketType(enum.Enum):
    """`SOCK_*` of socket(2)."""

    STREAM = 1
    DGRAM = 2
    RAW = 3
    SEQPACKET = 5
    PACKET = 10


class SocketState(enum.Enum):
    """`TCP_*` of the kernel's tcp_states.h; Unix sockets use the same numbers."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


class Shutdown(enum.Enum):
    """`sk_shutdown`: which halves of a socket are shut."""

    NONE = 0
    READ = 1
    WRITE = 2
    BOTH = 3


class RemapType(enum.Enum):
    """`remap_type`: what CRIU does for a file whose name is gone."""

    LINKED = 0
    GHOST = 1
    PROCFS = 2


class FileType(enum.Enum):
    """`fd_types`: what a file entry describes."""

    UND = 0
    REG = 1
    PIPE = 2
    FIFO = 3
    INETSK = 4
    UNIXSK = 5
    EVENTFD = 6
    EVENTPOLL = 7
    INOTIFY = 8
    SIGNALFD = 9
    PACKETSK = 10
    TTY = 11
    FANOTIFY = 12
    NETLINKSK = 13
    NS = 14
    TUNF = 15
    EXT = 16
    TIMERFD = 17
    MEMFD = 18
    BPFMAP = 19
    PIDFD = 20


SELF_CONTAINED = frozenset(
    {
        FileType.PIPE,
        FileType.EVENTFD,
        FileType.EVENTPOLL,
        FileType.SIGNALFD,
        FileType.TIMERFD,
        FileType.MEMFD,
        FileType.NETLINKSK,
        FileType.BPFMAP,
        FileType.PIDFD,
        FileType.NS,
    }
)
"""The types that CRIU restores from the images alone."""


class TerminalType(enum.Enum):
    """`TtyType`."""

    UNKNOWN = 0
    PTY = 1
    CONSOLE = 2
    VT = 3
    CTTY = 4
    EXT_TTY = 5
    SERIAL = 6


class MemfdSeal(enum.Enum):
    """`F_SEAL_*` of fcntl(2)."""

    SEAL = 0x01
    SHRINK = 0x02
    GROW = 0x04
    WRITE = 0x08
    FUTURE_WRITE = 0x10
    EXEC = 0x20


class NamespaceKind(enum.Enum):
    """The kinds of namespaces(7), by their name in /proc/PID/ns."""

    PID = "pid"
    NET = "net"
    IPC = "ipc"
    UTS = "uts"
    MNT = "mnt"
    USER = "user"
    CGROUP = "cgroup"
    TIME = "time"


class NetDeviceType(enum.Enum):
    """`nd_type`."""

    LOOPBACK = 1
    VETH = 2
    TUN = 3
    EXTLINK = 4
    """The device itself has to be there already."""
    VENET = 5
    BRIDGE = 6
    MACVLAN = 7
    SIT = 8


class LsmType(enum.Enum):
    """`lsmtype`: the Linux security module that labelled the tasks."""

    NO_LSM = 0
    SELINUX = 1
    APPARMOR = 2


class SeccompMode(enum.Enum):
    """`seccomp_mode`; the numbers are the kernel's SECCOMP_MODE_*."""

    DISABLED = 0
    STRICT = 1
    FILTER = 2


class MappingKind(enum.Enum):
    """What a mapping's pages come from, told from the `VMA_*` bits of its status (CRIU's image.h)."""

    ANONYMOUS_SHARED = "anonymous shared memory"
    """Shared between tasks without a name; in the images."""
    HUGE_PAGES = "huge pages"
    """Anonymous memory in huge pages (MAP_HUGETLB): the machine's pool must have as many free."""
    SOCKET = "packet socket's ring"
    """Mapped from a socket that a descriptor names (`dump_socket_map`)."""

    FILE_PRIVATE = "private"
    FILE_SHARED = "shared"
    MEMFD = "memfd"
    """A memfd, or anonymous shared memory that CRIU dumps as one."""
    SYSV = "SysV shared memory"
    PLUGIN = "plugin"
    """A device's memory, restored by a CRIU plugin."""


class TaskState(enum.Enum):
    """`task_core_entry.task_state`."""

    ALIVE = 1
    DEAD = 2
    STOPPED = 3
    ZOMBIE = 6


_E = TypeVar("_E", bound=enum.Enum)


def known(kind: type[_E], number: int) -> _E | int:
    """Return the enum's member, or the number itself where this release has no name for it."""
    try:
        return kind(number)
    except ValueError:
        return number
