"""The kinds: which program of `programs/` shows it, with which options, and what happens to it without the hook."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One program, dumped in one container and restored in another."""

    name: str
    """MODULE.FUNCTION in `programs/`."""
    demands: tuple[str, ...]
    without: str
    """Regular expression: what CRIU, or the program once restored, says where the hook was left out. Empty: it needs no help."""
    options: tuple[str, ...] = ()
    """Of dump and restore."""
    dump_options: tuple[str, ...] = ()
    restore_options: tuple[str, ...] = ()
    unshare: tuple[str, ...] = ()
    terminal: bool = False
    """The program is a shell's job in a terminal that stays outside."""
    pre_dump: bool = False
    image: str = "llmux:tiny"


@dataclass(frozen=True)
class Refusal:
    """A program that CRIU does not dump, and that goes on then."""

    name: str
    demands: tuple[str, ...]
    says: str
    """Regular expression: CRIU's words."""
    options: tuple[str, ...] = ()
    dump_options: tuple[str, ...] = ()
    restore_options: tuple[str, ...] = ()
    unshare: tuple[str, ...] = ()
    terminal: bool = False
    pre_dump: bool = False
    image: str = "llmux:tiny"


WITH_IP = "llmux:programs"
"""It has `ip` and `iptables`, which CRIU runs for a network namespace."""
MISSING = r"No such file or directory"
NO_HELP = ""

CASES = (
    Case("files.read", ("file",), MISSING),
    Case("files.write", ("file",), MISSING),
    Case("files.append", ("file", "file-append"), MISSING),
    Case("files.shared_offset", ("file-shared-offset",), MISSING),
    Case("files.metadata", ("file-metadata", "parents", "file-mode"), MISSING),
    Case("files.sparse", ("sparse", "file-size"), MISSING),
    Case("files.odd_names", ("odd-names",), r"Can't open file srv/kinds/files.odd_names/"),
    Case("files.long_path", ("odd-names",), MISSING),
    Case("files.longest_path", ("odd-names",), MISSING),
    Case("files.symlink", ("symlink",), MISSING),
    Case("files.hard_links", ("hard-links",), MISSING),
    Case("files.hard_links_apart", ("hard-links",), MISSING),
    Case("files.path_only", ("file",), MISSING),
    Case("files.unlinked_then_made_again", ("ghost", "file"), MISSING),
    Case("files.descriptor_flags", ("file",), MISSING),
    Case("files.mapped_private", ("mapped-private",), MISSING),
    Case("files.mapped_shared", ("mapped-shared",), MISSING),
    Case("files.mapped_deleted", ("mapped-deleted",), NO_HELP),
    Case("files.executable", ("exe",), MISSING),
    Case("files.library", ("library", "opened-libraries"), MISSING),
    Case("files.posix_shm", ("posix-shm",), MISSING),
    Case("files.tmpfs", ("tmpfs-file",), MISSING),
    Case("files.cwd", ("cwd",), MISSING),
    Case("files.chroot", ("root",), MISSING),
    Case("files.directory", ("parents",), MISSING),
    Case("files.devices", ("device",), NO_HELP),
    Case("files.proc_sys", ("proc-sys",), NO_HELP),
    Case("files.dead_proc", ("dead-proc",), NO_HELP),
    Case("lost.ghost", ("ghost",), NO_HELP),
    Case("lost.ghost_without_directory", ("ghost",), NO_HELP),
    Case("lost.ghost_directory", ("ghost-directory",), NO_HELP),
    Case("lost.ghost_hard_links", ("ghost-hard-links",), NO_HELP),
    Case("lost.tmpfile", ("tmpfile",), NO_HELP),
    Case("lost.link_remap", ("link-remap",), MISSING, ("--link-remap",)),
    Case("lost.semaphore", ("semaphore",), MISSING, ("--link-remap",)),
    Case("unix.stream", ("unix-listen", "unix-accepted"), MISSING),
    Case("unix.mode", ("unix-listen",), MISSING),
    Case("unix.rights_deep", ("unix-rights",), MISSING),
    Case("unix.seqpacket", ("unix-seqpacket",), MISSING),
    Case("unix.accepted_only", ("unix-accepted",), NO_HELP),
    Case("unix.connected_name", ("unix-connected-name",), MISSING),
    Case("unix.pair", ("unix-pair", "unix-queue"), NO_HELP),
    Case("unix.dgram", ("unix-dgram", "unix-queue"), MISSING),
    Case("unix.relative", ("unix-relative",), MISSING),
    Case("unix.deleted", ("unix-deleted",), NO_HELP),
    Case("unix.parked", ("unix-parked",), MISSING),
    Case("unix.abstract", ("unix-abstract",), NO_HELP),
    Case("unix.shutdown", ("unix-shutdown",), NO_HELP),
    Case("unix.rights", ("unix-rights",), MISSING),
    Case("unix.rights_flat", ("unix-rights",), MISSING),
    Case("unix.pending", ("unix-pending",), MISSING),
    Case("unix.options", ("unix-pair",), NO_HELP),
    Case("inet.tcp_listen", ("tcp-listen",), NO_HELP),
    Case("inet.tcp_established", ("tcp-established",), NO_HELP, ("--tcp-established",)),
    Case("inet.tcp_closed", ("tcp-close",), NO_HELP, ("--tcp-close",)),
    Case("inet.udp", ("udp",), NO_HELP),
    Case("inet.raw", ("raw",), NO_HELP),
    Case("inet.packet", ("packet",), NO_HELP),
    Case("inet.netlink", ("netlink",), NO_HELP),
    Case("pipes.fifo_both_ends", ("fifo",), MISSING),
    Case("pipes.fifo_one_end", ("fifo",), MISSING),
    Case("pipes.fifo_deleted", ("fifo-deleted",), NO_HELP),
    Case("pipes.pipe", ("pipe",), NO_HELP),
    Case("pipes.pipe_half", ("pipe",), NO_HELP),
    Case("watches.in_memory", ("inotify",), MISSING),
    Case("watches.by_scan", ("inotify-irmap",), MISSING, (), ("--force-irmap",)),
    Case("watches.fanotify", ("fanotify",), MISSING),
    Case("anonymous.epoll", ("epoll",), NO_HELP),
    Case("anonymous.eventfd", ("eventfd",), NO_HELP),
    Case("anonymous.eventfd_semaphore", ("eventfd",), NO_HELP),
    Case("anonymous.signalfd", ("signalfd",), NO_HELP),
    Case("anonymous.timerfd", ("timerfd",), NO_HELP),
    Case("anonymous.memfd", ("memfd",), NO_HELP),
    Case("anonymous.shared_memory", ("shared-anonymous",), NO_HELP),
    Case("anonymous.pidfd", ("pidfd",), NO_HELP),
    Case("anonymous.aio", ("aio",), NO_HELP),
    Case("locks.locks", ("locks",), MISSING, ("--file-locks",)),
    Case("locks.lease", ("lease",), MISSING, ("--file-locks",)),
    Case("locks.dropped", ("locks",), MISSING, (), ("--file-locks",)),
    Case("locks.pty", ("pty",), NO_HELP),
    Case("locks.terminal", ("shell-job",), NO_HELP, ("--shell-job",), terminal=True),
    Case("ipc.sysv", ("sysv",), NO_HELP),
    Case("tasks.threads", ("threads",), NO_HELP),
    Case("tasks.sessions", ("sessions",), NO_HELP),
    Case("tasks.dead_leader", ("sid-pgid",), NO_HELP),
    Case("tasks.zombie", ("zombie",), NO_HELP),
    Case("tasks.stopped", ("stopped",), NO_HELP),
    Case("tasks.shared_descriptors", ("shared-descriptors",), MISSING),
    Case("tasks.robust_futex", ("robust-futex",), NO_HELP),
    Case("state.signals", ("signals",), NO_HELP),
    Case("state.timers", ("timers",), NO_HELP),
    Case("state.prctl", ("prctl",), NO_HELP),
    Case("state.parent_death", ("prctl",), NO_HELP),
    Case("state.rseq", ("rseq",), NO_HELP),
    Case("state.seccomp", ("seccomp",), NO_HELP),
    Case("state.capabilities", ("capabilities",), NO_HELP),
    Case("state.limits", ("rlimits",), NO_HELP),
    Case("state.cgroup", ("cgroups",), NO_HELP),
    Case("state.clocks", ("time-namespace",), NO_HELP),
    Case("state.vdso", ("vdso",), NO_HELP),
    Case(
        "lost.link_remap_left_running",
        ("remaps-left-running",),
        MISSING,
        ("--link-remap",),
        ("--leave-running",),
    ),
    Case("namespaces.pid", ("pid-namespace",), NO_HELP),
    Case("namespaces.net", ("net-namespace",), NO_HELP, image=WITH_IP),
    Case("namespaces.tun", ("tun",), NO_HELP, image=WITH_IP),
    Case(
        "namespaces.mount",
        ("mount-namespace",),
        NO_HELP,
        ("--external", "mnt[]"),
        restore_options=("--root", "/run/root"),
    ),
    Case("namespaces.uts", ("uts-namespace",), NO_HELP),
)

REFUSALS = (
    Refusal("files.too_long_path", ("odd-names",), r"Buffer for read link of fd \d+ is too small"),
    Refusal("lost.ghost_too_great", ("ghost-limit",), r"Can't dump ghost file"),
    Refusal("lost.link_remap_unasked", ("link-remap-flag",), r"link-remap option"),
    Refusal("unix.relative_upwards", ("unix-relative-up",), r"Unable too cut"),
    Refusal("unix.pending_data", ("unix-pending-data",), r"Non-empty write queue on an in-flight socket"),
    Refusal(
        "unix.external_stream",
        ("unix-external-stream",),
        r"half of stream unix connection",
        ("--ext-unix-sk",),
    ),
    Refusal("inet.tcp_unasked", ("tcp-flag",), r"--tcp-established"),
    Refusal("watches.on_overlay", ("inotify-overlay",), r"Can't dump that handle"),
    Refusal("anonymous.io_uring", ("io-uring",), r"send_fds failed|io_uring"),
    Refusal("anonymous.userfaultfd", ("userfaultfd",), r"userfaultfd"),
    Refusal("locks.unasked", ("locks-flag",), r"file locks are hold"),
    Refusal("locks.terminal_outside", ("tty-outside",), r"tty"),
    Refusal("ipc.sysv_shared", ("sysv-shared",), r"IPC ns"),
    Refusal("ipc.mqueue", ("mqueue",), r"Can't lookup mount=\d+ for fd=\d+ path=/kinds-queue"),
    Refusal("tasks.inherited_session", ("sid-inherited",), r"session"),
    Refusal("tasks.traced", ("ptraced",), r"Unseizable"),
    Refusal("pipes.packets", ("pipe-packets",), r"packetized mode for pipes is not supported"),
    Refusal(
        "anonymous.memfd_huge", ("memfd-hugetlb",), r"Can't lookup mount=\d+ for fd=\d+ path=/memfd:huge"
    ),
    Refusal(
        "anonymous.huge_mapping", ("hugetlb",), r"Can't lookup mount=\d+ for fd=-\d+ path=/anon_hugepage"
    ),
    Refusal("anonymous.bpf_map", ("bpf-map",), r"Can't dump file \d+ of that type .*bpf-map"),
    Refusal("state.effective_user", ("credentials",), r"Can't get rlimit 0: Operation not permitted"),
    Refusal("tasks.with_parent_images", ("pre-dump",), r"Tracking memory is not available", pre_dump=True),
    Refusal("namespaces.net_without_tools", ("net-namespace",), r"IP tool failed"),
    Refusal(
        "namespaces.pid_without_session",
        ("pid-namespace",),
        r"session leader of .* is outside of its pid namespace",
    ),
    Refusal(
        "tasks.vfork",
        ("vfork", "freeze-timeout"),
        r"Unseizable non-zombie \d+ found, state D",
        dump_options=("--timeout", "3"),
    ),
    Refusal("namespaces.tun_outside", ("tun",), r"Net namespace is required to dump tun link"),
    Refusal("tasks.shared_fs", ("shared-fs",), r"Can't make FS id"),
)

UNRESTORED = (
    Case(
        "namespaces.user",
        ("user-namespace",),
        r"Unable to open the proc file system: Operation not permitted",
    ),
)
"""Dumped by CRIU, and then not restored: what it says, with the hook too."""
