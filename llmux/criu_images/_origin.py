"""Where a file comes from, and so whether a fresh container of the same image has it."""

from __future__ import annotations

from dataclasses import dataclass

from llmux.criu_images._facts import Inode, MountPoint
from llmux.criu_images.manifest import Origin

_KERNEL_FILE_SYSTEMS = frozenset({
    "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "securityfs", "debugfs", "tracefs", "bpf", "pstore",
    "binfmt_misc", "hugetlbfs", "configfs", "efivarfs", "fusectl", "nsfs",
})  # fmt: skip

MOST_DOUBTFUL = 16 << 20
"""A file that a fresh container may or may not have is carried up to this size, in bytes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A file's origin, whether its content is carried, and why."""

    origin: Origin
    carried: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ContainerStart:
    """When the container whose files these are was created, and how that was found out."""

    ns: int
    known_by: str


def is_kernel_made(mount: MountPoint) -> bool:
    """Tell whether nothing on this mount can or need be made by us."""
    return mount.fstype in _KERNEL_FILE_SYSTEMS


def judge(
    inode: Inode, mount: MountPoint, root_mount: int, start: ContainerStart, *, written: bool
) -> Verdict:
    """Decide a file's origin.

    On overlayfs a file of the image keeps the birth time of its layer, and gets a new one when it is first written to (it is copied up then), so the
    birth time against the container's tells the two apart. A mount other than the root's is a volume, unless it is memory.
    `written`: some process may write to it.
    """
    born_later = inode.birth_ns is not None and inode.birth_ns >= start.ns
    if mount.id != root_mount:
        return _judge_mounted(inode, mount, changed=written or born_later)
    if born_later:
        return Verdict(Origin.RUN_TIME, True, "born after the container was created")
    small = inode.size <= MOST_DOUBTFUL
    if inode.birth_ns is None and small:
        return Verdict(Origin.RUN_TIME, True, "in doubt: the file system keeps no birth time")
    if written:
        return Verdict(Origin.IMAGE, small, "older than the container, but open for writing")
    return Verdict(Origin.IMAGE, False, "older than the container")


def _judge_mounted(inode: Inode, mount: MountPoint, *, changed: bool) -> Verdict:
    if mount.in_memory:
        return Verdict(Origin.RUN_TIME, True, f"on a {mount.fstype}, which a fresh container gets empty")
    if changed and inode.size <= MOST_DOUBTFUL:
        return Verdict(Origin.VOLUME, True, "on a volume, and made or written by this container")
    return Verdict(Origin.VOLUME, False, "on a volume")
