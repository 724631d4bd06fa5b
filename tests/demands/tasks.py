"""Processes: their ids, memory, timers, rights and namespaces."""

from __future__ import annotations

from demands.model import Demand, Section

IDS = Section(
    "Processes and ids",
    (
        Demand(
            "pid",
            "process id",
            "`Can't fork for N: File exists`",
            "fork_with_pid",
            "every id of the tree",
            "",
            "free here",
            "each taken id is a conflict",
        ),
        Demand(
            "tid",
            "thread id",
            "`Unable to create a thread: -17`",
            "restorer.c",
            "thread ids",
            "",
            "free here",
            "each taken id is a conflict",
        ),
        Demand(
            "sid-pgid",
            "session or group whose leader is gone",
            "its id must be free: CRIU makes a helper with it",
            "prepare_pstree_ids",
            "ids",
            "",
            "free here, as group or session of another too",
            "each taken id is a conflict",
        ),
        Demand(
            "sid-inherited",
            "session from outside the tree",
            "`Requested sid A doesn't match inherited B`",
            "restore_sid",
            "session",
            refused="start the program under setsid, or give --shell-job",
        ),
        Demand("threads", "threads", "nothing", "restorer.c", "ids"),
        Demand("sessions", "sessions and process groups", "nothing", "restore_sid, restore_pgid", "ids"),
        Demand("zombie", "zombie", "nothing", "restore_one_zombie", "state"),
        Demand("stopped", "stopped task", "nothing", "finalize_restore", "state"),
        Demand(
            "ptraced",
            "task under ptrace",
            "refused at dump: `is being traced`",
            "compel_wait_task",
            refused="CRIU's own refusal: detach the tracer",
        ),
        Demand("vfork", "parent in vfork(2)", "nothing", "", "ids"),
        Demand(
            "shared-descriptors",
            "descriptor table shared by two processes (CLONE_FILES)",
            "nothing",
            "setup_shared_fdt",
            "table",
        ),
        Demand(
            "shared-fs",
            "cwd and root shared by two processes (CLONE_FS)",
            "refused at dump: `Can't make FS id`",
            "dump_task_ids",
            refused="CRIU's own refusal",
        ),
    ),
)

STATE = Section(
    "State of a process",
    (
        Demand(
            "signals",
            "signal handlers, masks, alternate stacks, pending signals",
            "nothing",
            "prepare_sigactions",
        ),
        Demand("timers", "POSIX and interval timers", "nothing", "prepare_posix_timers"),
        Demand("robust-futex", "robust futex list", "nothing", "restorer.c"),
        Demand("rseq", "restartable sequences", "nothing", "restore_rseq_cs"),
        Demand(
            "prctl",
            "name, dumpable, no_new_privs, child subreaper, parent-death signal",
            "nothing",
            "restorer.c",
        ),
        Demand(
            "seccomp",
            "seccomp filter",
            "nothing; a confined criu cannot fetch it",
            "seccomp_prepare_threads",
            "mode",
        ),
        Demand("capabilities", "capabilities dropped", "criu must have what it gives", "restore_creds"),
        Demand(
            "credentials",
            "uid, gid, groups",
            "CAP_SETUID, CAP_SETGID; CAP_SYS_RESOURCE for another user's rlimits",
            "restore_creds",
        ),
        Demand("rlimits", "resource limits", "CAP_SYS_RESOURCE to raise them", "prepare_rlimits"),
        Demand(
            "cgroups",
            "cgroups",
            "soft by default; `--manage-cgroups=ignore` skips",
            "prepare_cgroup",
            "paths",
        ),
        Demand("lsm", "LSM profile", "the profile must be loaded here", "prepare_lsm_profiles"),
        Demand(
            "cpu",
            "CPU features",
            "compared only with `--cpu-cap`: a missing one is SIGILL later",
            "cpu_validate_cpuinfo",
            "features",
            "",
            "features of this CPU",
            "a lesser processor is a conflict",
        ),
        Demand(
            "amx",
            "AMX tile permission",
            "nothing: it is lost, and the first tile instruction is SIGILL",
            "arch/x86",
            "the flag",
            "",
            "amx_tile in /proc/cpuinfo",
            "a warning",
        ),
        Demand(
            "kernel",
            "kernel version",
            "never checked",
            "",
            "release",
            "",
            "release",
            "another one is a warning",
        ),
        Demand("hugetlb", "mapping of huge pages", "free huge pages", "premap_private_vma"),
        Demand("vdso", "vdso", "replaced by a trampoline where it differs", "vdso_proxify"),
    ),
)

NAMESPACES = Section(
    "Namespaces that the dump owns",
    (
        Demand(
            "mount-namespace",
            "mount namespace with the content of its tmpfs",
            "`--root`, external mounts by name",
            "prepare_mnt_ns",
            "mounts",
        ),
        Demand(
            "mounts",
            "mounts of the container, which the images do not hold",
            "a path below a missing mount is not there",
            "",
            "/proc/PID/mountinfo",
            "",
            "mountinfo here",
            "a missing mount is one conflict",
        ),
        Demand(
            "net-namespace", "network namespace", "nothing but ip and iptables programs", "prepare_net_ns"
        ),
        Demand("uts-namespace", "UTS namespace", "nothing", "prepare_utsns"),
        Demand("user-namespace", "user namespace", "the right to map ids", "prepare_userns"),
        Demand("pid-namespace", "PID namespace", "nothing", "prepare_pid_ns"),
        Demand("time-namespace", "time namespace", "nothing", "prepare_timens"),
    ),
)

SECTIONS = (IDS, STATE, NAMESPACES)
