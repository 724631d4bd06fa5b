"""All of CRIU's messages that llmux knows, and how one is found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from llmux.criu_images import _messages_files, _messages_sockets, _messages_system, _messages_tasks
from llmux.criu_images._messages import OWN_DEMANDS, Match, Message

MESSAGES: tuple[Message, ...] = (
    *_messages_files.ROWS,
    *_messages_sockets.ROWS,
    *_messages_tasks.ROWS,
    *_messages_system.ROWS,
)
"""Of two that match one text, the one with more words of its own counts, then the one for its error number."""

_KEY = 4
"""So many first bytes choose the few messages that a text is compared with."""


def _index() -> dict[bytes, list[Message]]:
    index: dict[bytes, list[Message]] = defaultdict(list)
    for message in sorted(MESSAGES, key=lambda message: (-message.words, message.errno is None)):
        index[message.start[:_KEY]].append(message)
    return index


_INDEX = _index()
_SHORT = tuple(message for key, messages in _INDEX.items() if len(key) < _KEY for message in messages)
"""Those that begin with a value."""


def find_message(text: bytes) -> tuple[Message, Match] | None:
    """Find what CRIU's text is, and the values in it."""
    for message in (*_INDEX.get(text[:_KEY], ()), *_SHORT):
        match = message.match(text)
        if match is not None:
            return message, match
    return None


DEMANDS: Mapping[str, str] = {
    "file": "regular file, open to read, write or append",
    "file-size": "size of a regular file",
    "file-mode": "mode of files, directories and devices",
    "file-build-id": "executable or library of another image build",
    "symlink": "symbolic link on the way or opened itself",
    "cwd": "working directory",
    "root": "root directory (chroot)",
    "mapped-private": "MAP_PRIVATE file",
    "mapped-shared": "MAP_SHARED file",
    "exe": "executable made at run time",
    "device": "device node",
    "dead-proc": "/proc/PID of a dead process",
    "ghost": "ghost file (no link left)",
    "ghost-limit": "ghost greater than `--ghost-limit`",
    "ghost-leftover": "leftover `X.cr.ID.ghost`",
    "ghost-directory": "directory without a name",
    "link-remap": "linked remap (name gone, inode alive)",
    "link-remap-leftover": "link_remap.N left behind",
    "link-remap-flag": "linked remap without `--link-remap`",
    "link-remap-device": "linked remap and its group on one file system",
    "unix-listen": "stream listener at a path",
    "unix-pair": "socketpair",
    "unix-seqpacket": "seqpacket listener and connection",
    "unix-relative": "relative name",
    "unix-deleted": "socket whose path was unlinked",
    "unix-parked": "deleted socket whose path another one took",
    "unix-queue": "queued bytes and messages",
    "unix-rights": "descriptors in flight (SCM_RIGHTS), nested",
    "unix-pending": "connection that is not accepted yet",
    "unix-pending-data": "bytes sent over a connection that is not accepted yet",
    "unix-external": "datagram peer outside the dump",
    "unix-external-stream": "stream peer outside the dump",
    "tcp-listen": "TCP listener, IPv4 and IPv6",
    "tcp-established": "established TCP, both ends in the dump",
    "tcp-flag": "established TCP without an option",
    "tcp-close": "established TCP that shall come back closed",
    "udp": "UDP bound and connected",
    "raw": "raw IP socket",
    "packet": "packet socket",
    "netlink": "netlink socket",
    "network-lock": "firewall rules that lock the network",
    "fifo": "FIFO with data, both ends or one",
    "pipe": "pipe with data",
    "pipe-packets": "pipe in packet mode (O_DIRECT)",
    "inotify": "inotify watch of a file or directory",
    "inotify-overlay": "watch on an overlay",
    "inotify-irmap": "watch on an overlay with `--force-irmap`",
    "fanotify": "fanotify mark",
    "epoll": "epoll and its targets, nested",
    "eventfd": "eventfd",
    "timerfd": "timerfd",
    "memfd": "memfd, sealed, mapped or with an odd name",
    "shared-anonymous": "anonymous shared memory",
    "pidfd": "pidfd",
    "bpf-map": "BPF map",
    "tun": "tun device",
    "io-uring": "io_uring",
    "userfaultfd": "userfaultfd",
    "aio": "aio ring (io_setup)",
    "locks": "POSIX, flock, OFD locks",
    "lease": "lease",
    "locks-flag": "locks without `--file-locks`",
    "locks-foreign": "lock that somebody else holds here",
    "pty": "pseudo terminal with its session inside the dump",
    "tty-outside": "terminal from outside the dump",
    "shell-job": "`--shell-job`",
    "sysv": "System V memory, semaphores, messages in an IPC namespace of the tree's own",
    "sysv-shared": "attached segment of a shared IPC namespace",
    "pid": "process id",
    "tid": "thread id",
    "sid-pgid": "session or group whose leader is gone",
    "sid-inherited": "session from outside the tree",
    "zombie": "zombie",
    "stopped": "stopped task",
    "ptraced": "task under ptrace",
    "vfork": "parent in vfork(2)",
    "signals": "signal handlers, masks, alternate stacks, pending signals",
    "timers": "POSIX and interval timers",
    "rseq": "restartable sequences",
    "prctl": "name, dumpable, no_new_privs, child subreaper, parent-death signal",
    "seccomp": "seccomp filter",
    "capabilities": "capabilities dropped",
    "credentials": "uid, gid, groups",
    "rlimits": "resource limits",
    "cgroups": "cgroups",
    "lsm": "LSM profile",
    "cpu": "CPU features",
    "nvidia": "NVIDIA's driver, its libraries and its GPUs",
    "kernel": "kernel version",
    "hugetlb": "mapping of huge pages",
    "vdso": "vdso",
    "mount-namespace": "mount namespace with the content of its tmpfs",
    "mounts": "mounts of the container, which the images do not hold",
    "net-namespace": "network namespace",
    "user-namespace": "user namespace",
    "pid-namespace": "PID namespace",
    "time-namespace": "time namespace",
    "unknown-entry": "entry or number that this release does not know",
    "pre-dump": "pre-dump and dump with a parent",
    "plugin": "dump that a CRIU plugin took part in",
    "pre-restore": "stage `pre-restore`",
    "pre-resume": "stage `pre-resume`",
    **OWN_DEMANDS,
}
"""What each demand is called, by its id."""
