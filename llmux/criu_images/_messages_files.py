"""CRIU's messages about paths: files, links without a name, FIFOs, watches, mappings (files-reg.c, fifo.c, fsnotify.c, irmap.c, mem.c, memfd.c, shmem.c)."""

from __future__ import annotations

from llmux.criu_images._messages import Message, Rank

_EFFECT = Rank.EFFECT
PLAN = "`python -m llmux.criu_images plan DIR` says what is wrong with it and `rebuild DIR` mends what can be; a dump made with --action-script llmux-criu-hook brings along what a fresh container lacks."
_IMAGE = "Restore in a container of the very image, and with the volumes, that the dump was made in; `plan DIR` compares file by file."
_LEFT = "An earlier restore that failed left it. `rebuild DIR` removes what only CRIU itself can have made; or remove it by hand."
_ROOM = "Make room there."

# fmt: off
FILE_MISSING = Message("file", "Can't open file {path} on restore", "A file that the tree has open or mapped is not here.", PLAN, "ENOENT")
FILE_NOT_DIRECTORY = Message("file", "Can't open file {path} on restore", "Something on the way to the file, or in its place, is no directory here.", "Move away what stands there; " + PLAN, "ENOTDIR")
FILE_IS_DIRECTORY = Message("file", "Can't open file {path} on restore", "A directory stands where the tree has a file open.", "Move the directory away; " + PLAN, "EISDIR")
FILE_NO_DEVICE = Message("device", "Can't open file {path} on restore", "A device node is here without its device, or a FIFO or socket stands in the file's place.", "Start the container with the device; move away what is of another kind.", "ENXIO")
FILE_REFUSED = Message("file", "Can't open file {path} on restore", "CRIU may not open the file as the tree had it open.", "Run CRIU as root with the capabilities of the dump; see whether the file is immutable, or its mount read-only or of a user namespace.", "EACCES")
FILE_READ_ONLY = Message("file", "Can't open file {path} on restore", "The tree has the file open for writing, and it is on a read-only mount here.", "Mount it writable, as where the dump was made.", "EROFS")
FILE_BUSY = Message("file", "Can't open file {path} on restore", "The tree has the file open for writing, and a process here executes it.", "Stop that process.", "ETXTBSY")
FILE_LINK_LOOP = Message("symlink", "Can't open file {path} on restore", "A symbolic link stands where the tree has a file open without following links, or links go in a circle.", "Move the link away; " + PLAN, "ELOOP")
FILE_OTHER = Message("file", "Can't open file {path} on restore", "A file that the tree has open or mapped can't be opened.", PLAN)
FIFO_OTHER = Message("fifo", "Can't restore pipe size", "Another kind of file stands where the tree has a FIFO open.", "Move it away; " + PLAN, "EBADF")
SIZE = Message("file-size", "File {path} has bad size {found} (expect {expected})", "The file is here with another size than in the dump: it is another file, or it has grown or shrunk since. No option turns this check off.", "Put the recorded content back. A log that grew: `rebuild DIR` in a mount namespace of its own puts the recorded content over it; " + PLAN)
MODE = Message("file-mode", "File {path} has bad mode {mode} (expect {expected_mode})", "The file or directory is here with another type or another mode than in the dump.", "chmod it to the expected mode if that is right here, or give --skip-file-rwx-check if only its rwx bits differ; " + PLAN)
BUILD_ID = Message("file-build-id", "File {path} has bad build-ID", "A program or library here is another build than the one in the dump.", _IMAGE + " `--file-validation filesize` turns this check off, and the tree may then crash.")

LINK_MISSING = Message("link-remap", "Can't link {path} -> {target}", "The link_remap.N that holds a file without a name is not here. A restore that succeeded has used it up, or the dump's directory came without it.", "Put it back with its other hard links before every restore: `rebuild DIR` does, from a dump made with --action-script llmux-criu-hook.", "ENOENT")
REMAP_GONE = Message("link-remap", "Couldn't unlink remap {path}", "A link remap was gone already when CRIU cleaned up: another restore, in a container that shares the directory perhaps, has used it up. CRIU ends the tree.", "Restore again, one restore at a time where that directory is shared; llmux's hook sees to it.")
LINK_DEVICE = Message("link-remap-device", "Can't link {path} -> {target}", "The link remap and the name it is linked to for a moment are on different file systems here.", "Put both on one file system, as where the dump was made.", "EXDEV")
LINK_REFUSED = Message("link-remap", "Can't link {path} -> {target}", "The kernel refuses a hard link to that file (fs.protected_hardlinks), or CRIU may not write there.", "Run CRIU as root with CAP_FOWNER and CAP_DAC_OVERRIDE.", "EPERM")

ROWS: tuple[Message, ...] = (
    FILE_MISSING, FILE_NOT_DIRECTORY, FILE_IS_DIRECTORY, FILE_NO_DEVICE, FILE_REFUSED, FILE_READ_ONLY, FILE_BUSY, FILE_LINK_LOOP, FILE_OTHER,
    FIFO_OTHER, SIZE, MODE, BUILD_ID, LINK_MISSING, REMAP_GONE, LINK_DEVICE, LINK_REFUSED,
    Message("file", "Can't open file {path}", "A file of the tree could not be opened.", PLAN, rank=_EFFECT),
    Message("file-build-id", "File {path} has bad build-ID length {found} (expect {expected})", "A program or library here is another build than the one in the dump.", _IMAGE),
    Message("file-build-id", "Build-ID (For validation) could not be obtained for file {path} because can't open the file", "CRIU may not read the program or library to compare it.", "Run CRIU as root, or with --file-validation filesize."),
    Message("file", "Can't restore file pos", "The file's offset can't be set: another kind of file is at its path.", PLAN),
    Message("file", "Unable to open fd={fd} id={id}", "A descriptor of the tree could not be restored.", PLAN, rank=_EFFECT),
    Message("file", "Can't find regfile for {id}", "The images refer to a file that they don't hold.", "Copy the checkpoint again in full, or dump again."),
    Message("file", "No entry for reg-file-ID {id}", "The images refer to a file that they don't hold.", "Copy the checkpoint again in full, or dump again."),
    Message("mapped-private", "`- Can't open vma", "A mapped file could not be opened.", PLAN, rank=_EFFECT),
    Message("cwd", "Can't open cwd", "The working directory could not be opened.", PLAN, rank=_EFFECT),
    Message("root", "Can't open root", "The root directory could not be opened.", PLAN, rank=_EFFECT),
    Message("root", "Can't change root", "The tree's root directory can't be entered.", "Run CRIU with CAP_SYS_CHROOT, and see that the directory is there.", rank=_EFFECT),
    Message("cwd", "Can't change cwd", "The tree's working directory can't be entered.", PLAN, rank=_EFFECT),

    # Files that have lost their name.
    Message("ghost-limit", "Can't dump ghost file {name} of {found} size, increase limit", "A deleted file that a process has open is larger than --ghost-limit.", "Give a larger --ghost-limit, or make the program close the file or keep its name."),
    Message("link-remap-flag", "Can't create link remap for {name}. Use link-remap option.", "A file was opened under a name that is gone, and lives on under another.", "Dump with --link-remap."),
    Message("link-remap-leftover", "Can't link remap to {path}", "A link_remap.N of an earlier dump is in the way.", "Remove it if no other dump needs it, and dump again.", "EEXIST"),
    Message("link-remap", "Can't link remap to {path}", "CRIU can't make a hard link beside a file that has lost its name.", "The file system must allow hard links, be writable, and the link be on the same mount."),
    Message("link-remap", "Can't create even fake link!", "Neither the lost name of a file nor NAME.cr_link beside it can be linked.", "Free those names: `plan DIR` names them."),
    Message("link-remap", "Can't link {path} -> {target}", "CRIU can't give a file back the name it had lost.", PLAN),
    Message("link-remap", "Can't get owner of link remap {path}", "The link_remap.N that holds a file without a name is not here.", "Put it back with its other hard links before every restore: `rebuild DIR` does.", "ENOENT"),
    Message("link-remap", "Failed to unlink the remap file", "A lost name could not be taken away again.", "See who else uses that directory.", rank=_EFFECT),
    Message("link-remap", "Can't remove {path} AT {number}", "A lost name or a directory made for it could not be taken away again.", "See who else uses that directory.", rank=_EFFECT),
    Message("link-remap", "Can't create dir: {path} AT {number}", "A directory on the way to a lost name can't be made.", "See what stands in the way at that path and move it away."),
    Message("link-remap", "Can't find target file {id}", "The images refer to a link remap that they don't hold.", "Copy the checkpoint again in full, or dump again."),
    Message("link-remap", "Remap for non existing file {id}", "The images refer to a file that they don't hold.", "Copy the checkpoint again in full, or dump again."),
    Message("link-remap", "unknown remap type {number}", "The dump was made by a newer CRIU.", "Restore with that release of CRIU."),
    Message("ghost", "Corrupted ghost image -> no size", "A ghost file's image is damaged.", "Copy the checkpoint again in full, or dump again."),
    Message("ghost", "Ghost file size mismatch {found}/{expected}", "A ghost file's image is cut short.", "Copy the checkpoint again in full, or dump again."),
    Message("ghost", "Can't transfer data to ghost file from image", "A deleted file's content can't be written.", _ROOM),
    Message("ghost", "Can't make file size", "A deleted file's content can't be written.", _ROOM),
    Message("ghost", "Ghost symlink target is NULL for {path}. Image from old CRIU?", "A deleted symbolic link came without its target.", "Dump again with a newer CRIU."),
    Message("ghost-leftover", "Can't create ghost regfile", "A ghost file X.cr.N.ghost that an earlier restore left is in the way.", _LEFT, "EEXIST"),
    Message("ghost-leftover", "Can't create node for ghost file", "A ghost FIFO X.cr.N.ghost that an earlier restore left is in the way.", _LEFT, "EEXIST"),
    Message("ghost-leftover", "Can't create node for ghost dev", "A ghost device X.cr.N.ghost that an earlier restore left is in the way.", _LEFT, "EEXIST"),
    Message("ghost-leftover", "Can't create ghost symlink", "A ghost link X.cr.N.ghost that an earlier restore left is in the way.", _LEFT, "EEXIST"),
    Message("ghost-directory", "Can't make ghost dir", "A deleted directory can't be made for a moment: something is at its path and is not an empty directory.", "Free its path; `plan DIR` names it."),
    Message("ghost", "Can't create ghost regfile", "A deleted file can't be made for a moment in the nearest directory of its path that is here.", "That directory must be writable, and have room for the file."),
    Message("ghost", "Can't create node for ghost file", "A deleted FIFO can't be made for a moment.", "The nearest directory of its path that is here must be writable."),
    Message("ghost", "Can't create node for ghost dev", "A deleted device can't be made for a moment.", "Give CAP_MKNOD; the nearest directory of its path that is here must be writable."),
    Message("ghost", "Can't create ghost symlink", "A deleted symbolic link can't be made for a moment.", "The nearest directory of its path that is here must be writable."),
    Message("ghost", "The {number} mount is not found for ghost", "The dump's mount of a deleted file is not known here.", "Dump inside the container's own mount namespace, or restore with the same mounts."),
    Message("ghost-directory", "Can't get path {name} relative to {target}", "A lost name's directory can't be worked out.", "See that the mounts are those of the dump."),
    Message("dead-proc", "Conflict with a dead task with the same PID as of this thread (virt {pid}, real {number}).", "A file of /proc/PID of a dead process is open, and a live thread has that id now.", "Make the program close it, and dump again."),
    Message("file", "The path [{name}] is not supported", "A path that is not absolute is open: its mount is not in this mount namespace.", "Dump in the mount namespace of the tree, or give it as --external file[...]."),
    Message("mounts", "Can't lookup mount={number} for fd={fd} path={name}", "A file is open on a mount that the dumped tree's mount namespace doesn't have.", "Dump in the tree's own mount namespace; a file of a mount since detached (umount -l) must be closed first."),
    Message("mounts", "Open files on overmounted mounts are not supported yet; mount={number} fd={fd} path={name}", "A file is open below another mount that now covers it.", "Take the upper mount away, or make the program open the file anew."),
    Message("mounts", "Open files on overmounted mounts are not supported yet", "A file is open below another mount that now covers it.", "Take the upper mount away, or make the program open the file anew.", until="3.17"),
    Message("mounts", "Unaccessible path opened {found}:{code}, need {expected}:{inode}", "A name leads to another file than the one that is open: a mount covers it, or a file was put in its place.", "Take the upper mount away, or make the program open the file anew."),

    # FIFOs and pipes.
    Message("fifo", "Can't open fake fifo {id} [{path}]", "A FIFO that the tree has open is not here.", PLAN, "ENOENT"),
    Message("fifo", "Can't open fake fifo {id} [{path}]", "A FIFO that the tree has open can't be opened: something else stands in its place.", PLAN),
    Message("fifo", "Can't open fifo {id} [{path}]", "A FIFO that the tree has open can't be opened.", PLAN),
    Message("pipe", "Can't restore pipe size", "A pipe's buffer can't be made as large as it was.", "Raise /proc/sys/fs/pipe-max-size and the user's pipe-user-pages-soft to what they were, or give CAP_SYS_RESOURCE."),
    Message("pipe", "Unable to set a pipe size", "A pipe's buffer can't be made as large as CRIU needs it.", "Raise /proc/sys/fs/pipe-max-size and pipe-user-pages-soft, or give CAP_SYS_RESOURCE."),
    Message("pipe-packets", "The packetized mode for pipes is not supported yet", "A pipe with O_DIRECT holds data.", "Make the program read its pipe empty before the dump."),
    Message("pipe", "{id}: Wanted to restore {expected} bytes, but got {found}", "A pipe takes less data than it held.", "Raise /proc/sys/fs/pipe-max-size, or give CAP_SYS_RESOURCE."),

    # inotify and fanotify.
    Message("inotify", "fsnotify: Unable to open {path}", "A path that the tree watches is not here.", PLAN, "ENOENT"),
    Message("inotify", "fsnotify: Unable to open {path}", "A path that the tree watches can't be opened.", PLAN),
    Message("inotify", "fsnotify: Can't add watch for {id} with {hex}", "The kernel refuses a watch.", "Raise /proc/sys/fs/inotify/max_user_watches.", "ENOSPC"),
    Message("inotify", "fsnotify: Can't add watch for {id} with {hex}", "The kernel refuses a watch.", "See that the watched path is of the same kind as at the dump."),
    Message("inotify", "fsnotify: Can't create inotify for {id}", "The user has no inotify instance left.", "Raise /proc/sys/fs/inotify/max_user_instances.", "EMFILE"),
    Message("inotify", "fsnotify: Can't create inotify for {id}", "The kernel refuses an inotify instance.", "Raise /proc/sys/fs/inotify/max_user_instances."),
    Message("inotify", "fsnotify: Unsorted watch {hex} found for {id} with {number}", "The kernel numbers watches otherwise than the dump has them.", "Restore on a kernel of 4.18 or newer."),
    Message("fanotify", "fsnotify: Can't init fanotify mark ({code})", "The kernel refuses a fanotify group.", "Give CAP_SYS_ADMIN in the first user namespace; the kernel needs CONFIG_FANOTIFY."),
    Message("fanotify", "fsnotify: Adding fanotify mask {hex} on {id}/{path} failed ({code})", "A path that the tree marked with fanotify can't be marked here.", PLAN),
    Message("fanotify", "fsnotify: Adding fanotify ignored-mask {hex} on {id}/{path} failed ({code})", "A path that the tree marked with fanotify can't be marked here.", PLAN),
    Message("inotify", "fsnotify: Can't find mnt_id {hex}", "A watched path's mount is not known.", "Dump inside the container's own mount namespace."),
    Message("inotify", "fsnotify: Can't find mount mnt_id {hex}", "A watched path's mount is not known here.", "See that the mounts are those of the dump."),
    Message("inotify-overlay", "fsnotify: Can't find suitable path for handle (dev {hex} ino {id}): {code}", "A watched file's path can't be found again.", "Watch files on a volume or tmpfs; or dump with --force-irmap and --irmap-scan-path DIRECTORY.", rank=_EFFECT),
    Message("inotify-overlay", "fsnotify: \tCan't dump that handle", "A watched file is on a file system without file handles, such as a container's overlay.", "Put the watched files on a volume or tmpfs; or dump with --force-irmap, and --irmap-scan-path DIRECTORY where they are."),
    Message("inotify-irmap", "irmap: Failed to resolve {hex}:{id}", "A watched file is in none of the directories that CRIU searched.", "Give its directory with --irmap-scan-path.", rank=_EFFECT),

    # Mappings and memory.
    Message("mapped-shared", "Can't open mapped [{name}]", "A mapped file can't be looked at.", "Give CRIU CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE, and run it in the tree's mount namespace."),
    Message("mapped-shared", "Can't open {pid}'s mapfile link {hex}", "A mapped file can't be looked at by /proc/PID/map_files.", "Give CRIU CAP_SYS_ADMIN in the first user namespace, or CAP_CHECKPOINT_RESTORE."),
    Message("device", "Can't handle non-regular mapping on {pid}'s map {hex}", "A device or another file of no regular kind is mapped, and no plugin of CRIU's knows it.", "Give the plugin's directory with --libdir (cuda_plugin, amdgpu_plugin), or make the program unmap the device."),
    Message("device", "Strange file mapped at {hex} [{name}]:{number}.{found}.{inode}", "A file of a kind that CRIU can't dump is mapped.", "Make the program unmap it."),
    Message("userfaultfd", "Unexpected VMA met ({name})", "CRIU does not know this kernel's kind of mapping.", "Use a newer CRIU."),
    Message("mapped-private", "Unable to remap a private vma", "A mapping can't be put in its place.", "See the memory limits of the container."),
    Message("memory", "Unable to reserve memory ({found} bytes)", "There is no room for the tree's memory.", "Raise the container's memory limit or vm.overcommit; see `ulimit -v`."),
    Message("memfd", "Can't create memfd:{name}", "The kernel refuses a memfd.", "For memfds of huge pages raise vm.nr_hugepages to what the dump's machine had; else see the memory limits."),
    Message("memfd", "Cannot apply seals on memfd", "A memfd's seals can't be set.", "The kernel must be no older than the dump's."),
    Message("memfd", "Can't reopen memfd id={number}", "A memfd can't be opened anew.", "/proc must be mounted where CRIU runs."),
    Message("shared-anonymous", "Can't mmap shmem {hex} size={found}", "Shared memory can't be made.", "See the memory limits and the size of /dev/shm; for huge pages vm.nr_hugepages."),
    Message("shared-anonymous", "Unable to create memfd", "Shared memory can't be made.", "See the memory limits; for huge pages vm.nr_hugepages."),
    Message("shared-anonymous", "Can't restore shmem content", "Shared memory can't be filled.", "See the error before it.", rank=_EFFECT),
)
# fmt: on
