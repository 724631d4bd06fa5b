"""CRIU's messages about what is around a tree: namespaces, mounts, cgroups, IPC, images, action scripts, plugins, rights, room (mount*.c, cgroup.c, net.c, ipc_ns.c, image.c, ...)."""

from __future__ import annotations

from llmux.criu_images._messages import Message, Rank

_EFFECT = Rank.EFFECT
_AGAIN = "Copy the checkpoint again in full, or dump again."
_MOUNTS = "Give the container the same mounts, or tell CRIU of them with --external mnt[...] at the dump and at the restore. A dump made inside the container's own mount namespace has none of its mounts."
_CGROUPS = "Restore with --manage-cgroups=ignore if the container has cgroups of its own, or make /sys/fs/cgroup writable."
_RIGHTS = "Run CRIU as root with the capabilities that it asks for (docker: --cap-add ALL and seccomp, apparmor and systempaths unconfined, or --privileged)."
_ROOM = "Make room there."

# fmt: off
HOOK = Message("action-script", "llmux-criu-hook: {said}", "llmux's hook refused: what it says is the reason.", "Do what it says; nothing was restored or lost.")
SCRIPT = Message("action-script", "Script {program} exited with {code}", "The program that --action-script names failed, and CRIU stopped for it.", "See what it wrote to the log just before; a dump goes on running, a restore has changed nothing at pre-restore.")

ROWS: tuple[Message, ...] = (
    HOOK, SCRIPT,
    Message("action-script", "One of more action scripts failed", "The program that --action-script names failed.", "See what it wrote to the log just before.", rank=_EFFECT),
    Message("pre-restore", "Aborting restore due to pre-restore script ret code {code}", "The program that --action-script names refused the restore.", "See what it wrote to the log just before.", rank=_EFFECT),
    Message("action-script", "Aborting restore due to post-restore script ret code {code}", "The program that --action-script names refused the restored tree, which was ended.", "See what it wrote to the log just before.", rank=_EFFECT),
    Message("pre-dump", "Pre dump script failed with {code}!", "The program that --action-script names refused the dump.", "See what it wrote to the log just before.", rank=_EFFECT),
    Message("pre-resume", "Pre-resume script ret code {code}", "The program that --action-script names failed at pre-resume; CRIU goes on.", "See what it wrote to the log just before.", rank=Rank.HARMLESS),
    Message("pre-resume", "Post-resume script ret code {code}", "The program that --action-script names failed at post-resume; CRIU goes on.", "See what it wrote to the log just before.", rank=Rank.HARMLESS),
    Message("plugin", "Missing required plugin: {name}", "A plugin of CRIU's took part in the dump, and is not here.", "Give its directory with --libdir, or install it (/usr/lib/criu)."),
    Message("plugin", "Unable to load {path}: {name}", "A plugin of CRIU's can't be loaded.", "Install what it needs, of the same release as CRIU."),
    Message("plugin", "cuda_plugin: Failed to launch cuda-checkpoint to retrieve state: {name}", "NVIDIA's cuda-checkpoint can't be run.", "Put cuda-checkpoint on PATH; the driver must be 550 or newer."),
    Message("plugin", "cuda_plugin: PAUSE_DEVICES failed with {name}", "The GPU's work could not be stopped in time.", "Give a larger --timeout."),
    Message("plugin", "cuda_plugin: CHECKPOINT_DEVICES failed with {name}", "The GPU's memory could not be taken.", "There must be as much free memory as the GPU's in use; see the driver's version."),
    Message("plugin", "cuda_plugin: RESUME_DEVICES RESTORE failed with {name}", "The GPU's memory could not be put back.", "The same number and kind of GPUs must be free here."),

    # Mounts and namespaces.
    Message("mounts", "mnt: No mapping for {number}:{path} mountpoint", "The dump has a mount from outside, and the restore was not told what to put there.", _MOUNTS),
    Message("mounts", 'mnt: Mount {number}:{path} is autodetected external mount. Try "--ext-mount-map auto" to allow them.', "The tree has a mount from outside its mount namespace.", _MOUNTS),
    Message("mounts", "mnt: Mount {number} {path} (master_id: {found} shared_id: {expected}) has unreachable sharing. Try --enable-external-masters.", "A mount of the tree gets its changes from one outside.", "Give --enable-external-masters."),
    Message("mounts", "mnt-v2: Sharing group ({found}, {expected}) has unreachable sharing. Try --enable-external-masters.", "A mount of the tree gets its changes from one outside.", "Give --enable-external-masters."),
    Message("mounts", "mnt: {number}:{path} doesn't have a proper root mount", "A mount of the tree shows part of a file system that the tree can't see whole.", _MOUNTS),
    Message("mounts", "mnt: FS mnt {path} dev {hex} root {name} unsupported id {number}", "A mount's file system is one that CRIU doesn't dump.", _MOUNTS + " --enable-fs NAME may do."),
    Message("mounts", "mnt: Unable to find suitable mount point for s_dev {hex}", "A file's mount can't be found.", _MOUNTS),
    Message("mounts", "fsnotify: Unable to lookup a mount by dev {hex}", "A watched file's mount can't be found.", "Dump inside the container's own mount namespace."),
    Message("mount-namespace", "mnt: The --root option is required to restore a mount namespace", "The dump owns its mount namespace.", "Give --root DIR, a mount point with the container's file system."),
    Message("mount-namespace", "mnt-v2: The --root option is required to restore a mount namespace", "The dump owns its mount namespace.", "Give --root DIR, a mount point with the container's file system."),
    Message("mounts", "mnt: Can't mount at {path}", "A mount of the dump can't be made here.", _MOUNTS),
    Message("mounts", "mnt-v2: Can't mount at {path}", "A mount of the dump can't be made here.", _MOUNTS),
    Message("mounts", "mnt: A few mount points can't be mounted", "Mounts of the dump can't be made here.", _MOUNTS, rank=_EFFECT),
    Message("mount-namespace", "mnt: The root task has another root than mntns: {path}", "The tree's root directory is not that of its mount namespace.", "Give --root at the dump, or run CRIU inside the container."),
    Message("mount-namespace", "Can't restore tmpfs content", "A tmpfs can't be filled.", "tar must be installed; make the tmpfs as large as it was."),
    Message("mount-namespace", "Can't dump tmpfs content", "A tmpfs can't be read.", "tar must be installed."),
    Message("mounts", "{path} is a fuse mount but not external", "The tree has a FUSE mount.", "Give it as --external mnt[...], or take it away."),
    Message("net-namespace", "net: Unable to find an external netns: {name}", "The network namespace that the dump names is not given.", "Give it with --inherit-fd fd[N]:KEY."),
    Message("net-namespace", "net: Unsupported link {number} (type {found} kind {name})", "The tree's network namespace has a kind of interface that CRIU doesn't dump.", "Give the namespace as --external net[INODE]:KEY, or use --empty-ns net."),
    Message("net-namespace", "net: Can't restore link: {code}", "A network interface can't be made.", "Give veth pairs with --external veth[...]; see whether the name is taken."),
    Message("net-namespace", "net: IP tool failed on {name}", "`ip` failed.", "Install iproute2; see its own message just before.", rank=_EFFECT),
    Message("net-namespace", "net: nft command error:", "The firewall rules of the dump can't be put back.", "The kernel must have nftables and its modules loaded."),
    Message("net-namespace", "net: Can't restore iptables dump - no legacy version present", "The dump has iptables' rules, and there is no iptables-legacy here.", "Install iptables."),
    Message("user-namespace", "Can't dump nested {name} namespace for {pid}", "A process of the tree has a namespace of its own inside the tree's.", "Dump the tree of that namespace by itself; nested ones can't be dumped."),
    Message("time-namespace", "Can't dump nested time namespace for {pid}", "A process of the tree has a time namespace of its own.", "Nested ones can't be dumped."),
    Message("time-namespace", "Time namespaces are not supported", "The kernel has no time namespaces; only a dump of one needs them.", "Nothing, unless the tree is in one.", rank=Rank.HARMLESS),
    Message("time-namespace", "Unable to create a new time namespace", "The kernel refuses a time namespace.", "Use Linux 5.6 or newer, with CAP_SYS_ADMIN."),
    Message("time-namespace", "Unable to set a monotonic clock offset", "The clock can't be set back as it was.", "Give CAP_SYS_TIME."),
    Message("user-namespace", "One or more namespaces doesn't belong to the target user namespace", "The tree's namespaces belong to another user namespace than its processes.", "Make them together (unshare --user --pid --mount ...)."),
    Message("pid-namespace", "Can't restore sub-task in NS (cflags {hex})", "A child of the tree has a namespace of its own.", "Dump the tree of that namespace by itself."),
    Message("mounts", "Can't find suitable NS ID for {hex}", "The images refer to a namespace that they don't hold.", _AGAIN),

    # cgroups.
    Message("cgroups", "cg: Can't move into {name} ({code}/{number})", "A process can't be put into its cgroup.", _CGROUPS),
    Message("cgroups", "cg: Can't move {name} into {path} ({code}/{number})", "A process can't be put into its cgroup.", _CGROUPS),
    Message("cgroups", "cg: cgroupd: Can't move thread {pid} into {name}/{path}", "A thread can't be put into its cgroup.", _CGROUPS),
    Message("cgroups", "cg: Can't make cgroup dir {path}", "A cgroup of the dump can't be made.", _CGROUPS),
    Message("cgroups", "cg: Failed accessing cgroup dir {path}", "A cgroup of the dump can't be reached.", _CGROUPS),
    Message("cgroups", "cg: Cgroup dir {path} doesn't exist", "A cgroup of the dump is not here.", _CGROUPS),
    Message("cgroups", "cg: Abort restore of existing cgroups", "A cgroup of the dump exists here already.", "Restore with --manage-cgroups=soft or ignore, or give another place with --cgroup-root."),
    Message("cgroups", "cg: controller {name} not found", "A cgroup controller of the dump is not here.", "Restore with --manage-cgroups=ignore."),
    Message("cgroups", "cg: CG paths mismatch: {name} {path}", "A process's cgroups are not all below the tree's.", "Restore with --manage-cgroups=ignore, or give --cgroup-root."),
    Message("cgroups", "cg: Failed writing {name} to {path}", "A cgroup's limit can't be set.", _CGROUPS),
    Message("cgroups", "cg: No set {number} found", "The image of the cgroups is damaged.", _AGAIN),
    Message("cgroups", "cg: Unable to mount {name} {path}", "The cgroup file system can't be mounted.", "Give CAP_SYS_ADMIN, or --manage-cgroups=ignore at the dump and at the restore."),
    Message("cgroups", "Corrupted root cgset", "The image of the cgroups is damaged.", _AGAIN),

    # System V and POSIX IPC.
    Message("sysv", "Failed to create shm set", "A System V segment's key is taken.", "Restore in an IPC namespace of its own.", "EEXIST"),
    Message("sysv", "Failed to create shm set", "A System V segment can't be made.", "Restore in an IPC namespace of its own; see kernel.shmmax and shmall."),
    Message("sysv", "Failed to create sem set", "System V semaphores can't be made.", "Restore in an IPC namespace of its own; see kernel.sem."),
    Message("sysv", "Failed to create msg set", "A System V message queue can't be made.", "Restore in an IPC namespace of its own; see kernel.msgmni."),
    Message("sysv", "Failed to restore shm id ({found} instead of {expected})", "A System V segment got another number.", "Restore in an IPC namespace of its own."),
    Message("sysv", "Failed to set desired IPC shm ID", "CRIU may not choose a System V segment's number.", "Give CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, with /proc/sys writable."),
    Message("sysv", "Can't find sysv shmem for {hex}", "The segment that was attached is not in the images.", _AGAIN),

    # Images and options.
    Message("images", "Unable to open {path}", "An image is missing, or can't be read.", _AGAIN, "ENOENT"),
    Message("images", "Can't open dir {path}", "The directory of images is not there.", "Give the dump's directory with --images-dir.", "ENOENT"),
    Message("images", "Couldn't open image dir {path}", "The directory of images can't be opened.", "Give the dump's directory with --images-dir."),
    Message("images", "Not supported images version {number}", "The dump was made by a newer CRIU.", "Restore with that release of CRIU."),
    Message("images", "Too old image, no longer supported", "The dump was made by a very old CRIU.", "Restore with that release of CRIU."),
    Message("images", "Magic doesn't match for {path}", "An image is damaged or of another kind.", _AGAIN),
    Message("images", "Head magic doesn't match for {path}", "An image is damaged or of another kind.", _AGAIN),
    Message("images", "Unexpected EOF on {path}", "An image is cut short.", _AGAIN),
    Message("images", "Unexpected EOF", "An image is cut short.", _AGAIN),
    Message("images", "Failed unpacking object {hex} from {path}", "An image is damaged.", _AGAIN),
    Message("images", "Read {found} bytes while {expected} expected from {path}", "An image is cut short.", _AGAIN),
    Message("images", "Read {found} bytes while {expected} expected on {path}", "An image is cut short.", _AGAIN),
    Message("images", "Img trimmed {found}/{expected}", "An image is cut short, or could not be written whole.", "Make room where the images are; " + _AGAIN),
    Message("images", "Image corrupted on pid {pid}", "An image is damaged.", _AGAIN),
    Message("images", "Images corrupted or too old criu was used for dump.", "The images of the processes are damaged, or very old.", _AGAIN),
    Message("images", "Can't open core data for {pid}", "A process's image is missing.", _AGAIN),
    Message("images", "Can't read async pr bytes ({name})", "The image of the pages is cut short.", _AGAIN),
    Message("images", "Reached EOF unexpectedly while reading page from image", "The image of the pages is cut short.", _AGAIN),
    Message("pre-dump", "Missing {hex} in parent pagemap", "The dump refers to an earlier pre-dump, which is not there or is not the right one.", "Keep the directory that `parent` in the images links to, with its own parents."),
    Message("pre-dump", "No parent for snapshot pagemap", "The dump refers to an earlier pre-dump, which is not there.", "Keep the directory that `parent` in the images links to, with its own parents."),
    Message("pre-dump", "page-xfer: Missing {hex} in parent pagemap", "The dump refers to an earlier pre-dump, which is not there or is not the right one.", "Keep the directory that `parent` in the images links to, with its own parents."),
    Message("pre-dump", "Can't link parent snapshot", "The link to the earlier pre-dump can't be made.", "Give --prev-images-dir relative to --images-dir; an earlier dump in the same directory left a `parent`: remove it."),
    Message("pre-dump", "Invalid parent image directory provided", "The directory of the earlier pre-dump is not there.", "Give --prev-images-dir relative to --images-dir."),
    Message("options", "Tracking memory is not available. Consider omitting --track-mem option.", "The kernel can't track which pages change.", "Leave out --track-mem, or use a kernel with CONFIG_MEM_SOFT_DIRTY."),
    Message("options", "pidfile: Can't open {path}", "The file that --pidfile names exists already.", "Remove it, or name another.", "EEXIST"),
    Message("options", "pidfile: Can't open {path}", "The file that --pidfile names can't be made.", "Make its directory."),
    Message("options", "Can't create log file {path}", "The log can't be written.", "Give a writable --work-dir or --log-file."),
    Message("options", "invalid argument for --{name}: {program}", "CRIU does not know this value.", "See `criu --help`."),
    Message("options", "unknown command: {name}", "CRIU does not know this command.", "See `criu --help`."),
    Message("options", "pid not specified", "The dump was not told which process.", "Give --tree PID."),
    Message("options", "Unable to detach from {pid}", "There is no process of that id where CRIU runs.", "Give --tree an id as seen where CRIU runs; the process may have ended.", "ESRCH"),
    Message("options", "Can't find task with pid {pid}", "There is no process of that id in CRIU's PID namespace.", "Give --tree an id as seen where CRIU runs."),

    # Rights and room.
    Message("disk", "page-xfer: Unable to spice data", "Pages can't be written.", _ROOM + " The images take as much as the tree's memory.", "ENOSPC"),
    Message("disk", "page-xfer: Unable to spice data", "Pages can't be written.", "See the disk that the images are on."),
    Message("disk", "Can't write {number} bytes", "An image can't be written.", _ROOM, "ENOSPC"),
    Message("disk", "Can't write img file", "An image can't be written.", _ROOM, "ENOSPC"),
    Message("rights", "You need to be root to run this command", "CRIU was not started as root.", "Run it as root, or with CAP_CHECKPOINT_RESTORE and --unprivileged."),
    Message("rights", "Can't open {pid}/mem on procfs", "CRIU may not read a process's memory.", "Give CAP_SYS_PTRACE; for a process that is not dumpable run as root.", "EACCES"),
    Message("rights", "Can't open {number}/sys/kernel/ns_last_pid on procfs", "/proc/sys is read-only here.", "Mount it writable (docker: --security-opt systempaths=unconfined).", "EROFS"),
    Message("rights", "Can't open {pid}/map_files on procfs", "CRIU may not look at a process's mappings.", "Give CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE.", "EPERM"),
    Message("options", "Can't open {pid}/{name} on procfs", "There is no process of that id where CRIU runs.", "Give --tree an id as seen where CRIU runs; the process may have ended.", "ENOENT"),
    Message("rights", "Can't open {pid}/{name} on procfs", "CRIU may not look at a process.", _RIGHTS, "EACCES"),
    Message("rights", "Can't open {pid}/{name} on procfs", "CRIU can't look at a process.", _RIGHTS),
    Message("rights", "Can't unshare net-namespace", "CRIU may not make a namespace.", "Give CAP_SYS_ADMIN."),
    Message("rights", "Setting loginuid for CT init task failed, CAP_AUDIT_CONTROL?", "CRIU may not set the audit's user.", "Give CAP_AUDIT_CONTROL."),
    Message("rights", "Could not initialize kernel features detection.", "CRIU can't find out what the kernel can do.", "See the error before it. " + _RIGHTS, rank=_EFFECT),
    Message("kernel", "Unable to fork a process", "CRIU can't start a helper.", "Raise the container's --pids-limit and `ulimit -u`.", "EAGAIN"),
    Message("kernel", "Lazy pages are not available", "The kernel has no userfaultfd for CRIU; only --lazy-pages needs it.", "Restore without --lazy-pages."),
    Message("kernel", "net: Unable create a network namespace", "CRIU may not make network namespaces; only a dump of one needs them.", "Nothing, unless the tree has its own network namespace.", rank=Rank.HARMLESS),
    Message("kernel", "Unable create a network namespace", "CRIU may not make network namespaces, to try out what they can.", "Nothing, unless the tree has its own network namespace.", rank=Rank.HARMLESS),
    Message("kernel", "Dirty tracking is OFF. Memory snapshot will not work.", "The kernel can't track which pages change; only --track-mem needs it.", "Nothing, unless you use --track-mem.", rank=Rank.HARMLESS),
    Message("kernel", "cgroupns not supported. This is not fatal.", "The kernel has no cgroup namespaces.", "Nothing.", rank=Rank.HARMLESS),
    Message("kernel", "Loginuid restore is OFF.", "The audit's user is not restored.", "Nothing.", rank=Rank.HARMLESS),
)
# fmt: on
