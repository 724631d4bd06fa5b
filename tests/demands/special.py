"""Pipes, watches, locks, terminals and files that have no path."""

from __future__ import annotations

from demands.model import Demand, Section

PIPES = Section(
    "Pipes and FIFOs",
    (
        Demand(
            "fifo",
            "FIFO with data, both ends or one",
            "`Can't open fake fifo`: the node must exist as a FIFO; data is in the images",
            "open_fifo_fd",
            "path, mode, bytes waiting",
            "the node",
            "it is a FIFO",
            "anything else at the path is a conflict",
        ),
        Demand("fifo-deleted", "FIFO without a name", "a ghost of it", "create_ghost_dentry"),
        Demand("pipe", "pipe with data", "nothing", "open_pipe", "bytes waiting"),
        Demand(
            "pipe-packets",
            "pipe in packet mode (O_DIRECT)",
            "refused at dump: `The packetized mode for pipes is not supported yet`",
            "dump_one_pipe",
            refused="CRIU's own refusal",
        ),
    ),
)

WATCHES = Section(
    "Watches",
    (
        Demand(
            "inotify",
            "inotify watch of a file or directory",
            "`fsnotify: Unable to open`: by the path stored with the handle; a handle alone does not resolve here",
            "restore_one_inotify, get_mark_path",
            "path, handle, mask",
            "the watched path",
            "it exists",
        ),
        Demand(
            "inotify-overlay",
            "watch on an overlay",
            "refused at dump: `Can't dump that handle`",
            "check_open_handle",
            refused="CRIU's own refusal: give --force-irmap or --irmap-scan-path",
        ),
        Demand(
            "inotify-irmap",
            "watch on an overlay with `--force-irmap`",
            "the path that the scan found",
            "irmap_lookup",
            "path",
            "the watched path",
            "it exists",
        ),
        Demand(
            "fanotify",
            "fanotify mark",
            "the marked path",
            "restore_one_fanotify",
            "path, mask",
            "the path",
            "it exists",
        ),
    ),
)

ANONYMOUS = Section(
    "Files without a path",
    (
        Demand("epoll", "epoll and its targets, nested", "nothing", "eventpoll_open", "counted"),
        Demand(
            "eventfd",
            "eventfd",
            "nothing; EFD_SEMAPHORE is in no image and is lost without a word: one read then takes all",
            "dump_one_eventfd, eventfd_open",
            "counted",
        ),
        Demand("signalfd", "signalfd", "nothing", "signalfd_open", "counted"),
        Demand("timerfd", "timerfd", "nothing", "timerfd_open", "counted"),
        Demand("memfd", "memfd, sealed, mapped or with an odd name", "nothing", "memfd_open", "name, size"),
        Demand(
            "memfd-hugetlb",
            "memfd of huge pages",
            "refused at dump where the container does not see their mount: `Can't lookup mount=N for fd=N path=/memfd:huge`; else free huge pages",
            "dump_one_reg_file, memfd_open_inode_nocache",
            refused="CRIU's own refusal",
        ),
        Demand("shared-anonymous", "anonymous shared memory", "nothing", "open_shmem", "mapping"),
        Demand("pidfd", "pidfd", "nothing", "open_one_pidfd", "counted"),
        Demand(
            "bpf-map",
            "BPF map",
            "refused at dump by a CRIU built without libbpf, as Debian's is: `Can't dump file N of that type ... bpf-map`",
            "dump_unsupp_fd, bpfmap_open",
            "counted",
            refused="CRIU's own refusal",
        ),
        Demand(
            "tun",
            "tun device",
            "a network namespace of the dump's own (`Net namespace is required to dump tun link`) and /dev/net/tun",
            "dump_tunfile, tunfile_open",
            "name of the device",
            refused="in the container's network namespace: CRIU's own refusal",
        ),
        Demand(
            "io-uring",
            "io_uring",
            "refused at dump: `Unknown shit 600 (anon_inode:[io_uring])`",
            "dump_chrdev, dump_one_file",
            refused="CRIU's own refusal: hide io_uring by a seccomp filter, as llmux does",
        ),
        Demand(
            "userfaultfd", "userfaultfd", "refused at dump", "dump_one_file", refused="CRIU's own refusal"
        ),
        Demand(
            "aio",
            "aio ring (io_setup)",
            "nothing; requests in flight are lost",
            "parasite_check_aios, restore_aio_ring",
            "mapping",
        ),
    ),
)

LOCKS = Section(
    "Locks",
    (
        Demand(
            "locks",
            "POSIX, flock, OFD locks",
            "`--file-locks` at dump and at restore; at dump alone, they are gone without a word",
            "restore_file_locks",
            "kind, range, holder",
            "the file",
            "",
            "the option it needs is said",
        ),
        Demand("lease", "lease", "`--file-locks`", "restore_file_lease", "kind", "the file"),
        Demand(
            "locks-flag",
            "locks without `--file-locks`",
            "refused at dump: `Some file locks are hold by dumping tasks!`",
            "note_file_lock, dump_file_locks",
            refused="CRIU's own refusal: give --file-locks",
        ),
        Demand(
            "locks-foreign",
            "lock that somebody else holds here",
            "for a POSIX lock or an flock the restore waits, however long, and says nothing; an OFD lock and a lease fail",
            "restore_file_lock",
            "file, kind, range",
            "",
            "whether somebody holds it here, in whatever container; the holder is named where /proc shows it",
        ),
    ),
)

TERMINALS = Section(
    "Terminals",
    (
        Demand(
            "pty", "pseudo terminal with its session inside the dump", "nothing", "tty_open", "master, slave"
        ),
        Demand(
            "tty-outside",
            "terminal from outside the dump",
            "refused at dump without `--shell-job`; with it, the restore needs a terminal of its own",
            "dump_verify_tty_sids, tty_find_restoring_task",
            "the node",
            refused="CRIU's own refusal: start the program under setsid, without one",
        ),
        Demand(
            "shell-job",
            "`--shell-job`",
            "session and group from outside: `Current sid|gid N intersects with`",
            "pstree.c: prepare_pstree_for_shell_job",
            "session, group",
            "",
            "ids in use",
        ),
    ),
)

IPC = Section(
    "System V and POSIX IPC",
    (
        Demand(
            "sysv",
            "System V memory, semaphores, messages in an IPC namespace of the tree's own",
            "nothing",
            "prepare_ipc_ns",
            "segments",
        ),
        Demand(
            "sysv-shared",
            "attached segment of a shared IPC namespace",
            "refused at dump: `doesn't live in IPC ns`",
            "check_sysvipc_map_dump",
            refused="CRIU's own refusal: unshare --ipc around the tree",
        ),
        Demand(
            "mqueue", "POSIX message queue", "refused at dump", "dump_one_file", refused="CRIU's own refusal"
        ),
    ),
)

SECTIONS = (PIPES, WATCHES, ANONYMOUS, LOCKS, TERMINALS, IPC)
