"""The file systems of a dump that has a mount namespace of its own, once CRIU has mounted them and before it opens any file.

At `post-setup-namespaces` CRIU's root task waits in a service namespace: a copy of CRIU's own, where a tmpfs, the roots yard, holds each mount of the
tree by itself as `mnt-ID`, with the id of the mount's image (criu/mount-v2.c; with `--mntns-compat-mode` it holds the whole tree as
`NAMESPACE-0000000000`, criu/mount.c). The tree's own namespace has clones of these mounts: what is made in the one is in the other. Here they
are put together once more, in a mount namespace of this process alone, which ends with it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from llmux.criu_images import _linux as linux
from llmux.criu_images._dump import read_dump
from llmux.criu_images._enums import NamespaceKind
from llmux.criu_images._observe import read_mounts
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Dump, Mount
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import RebuildFailed

_YARD = re.compile(rb"/\.criu\.mntns\.[A-Za-z0-9]{6}\Z")


def enter_tree(directory: Path, task: int) -> Path:
    """Enter a mount namespace like that of the waiting root task, and return where the tree's root is in it.

    Call it in a process of one thread. Raises RebuildFailed where CRIU has not laid the mounts out as its images say, and what `read_dump` raises.
    """
    mounts = mounts_of_root_task(read_dump(directory))
    try:
        linux.enter_mount_namespace(task)
        linux.unshare_mounts()
    except OSError as error:
        raise RebuildFailed(b"/", f"cannot enter CRIU's mount namespace: {error.strerror}") from error
    yard = find_yard()
    whole = yard / f"{mounts[0].namespace}-{0:010}"
    return whole if whole.is_dir() else _put_together(yard, mounts)


def mounts_of_root_task(dump: Dump) -> tuple[Mount, ...]:
    """Return the mounts of the root task's namespace, each after the one it lies on, the root first; raises RebuildFailed."""
    own = dict(dump.tasks[0].namespaces).get(NamespaceKind.MNT)
    mounts = [mount for mount in dump.mounts if mount.namespace == own]
    known = {mount.id for mount in mounts}
    if len(known) != len(mounts):
        raise RebuildFailed(b"/", f"the dump names two mounts of namespace {own} by one id")
    roots = [mount for mount in mounts if mount.parent not in known or mount.parent == mount.id]
    if len(roots) != 1:
        raise RebuildFailed(b"/", f"the dump names {len(roots)} root mounts of namespace {own}")
    return (roots[0], *_mounts_below(roots[0], mounts))


def _mounts_below(parent: Mount, mounts: Collection[Mount]) -> Iterator[Mount]:
    for mount in mounts:
        if mount.parent == parent.id and mount is not parent:
            yield mount
            yield from _mounts_below(mount, mounts)


def find_yard() -> Path:
    """Find the roots yard in this mount namespace: only who may mount can have made it. Raises RebuildFailed."""
    yards = {
        mount.mountpoint
        for mount in read_mounts()
        if mount.fstype == "tmpfs" and _YARD.search(mount.mountpoint)
    }
    if len(yards) != 1:
        raise RebuildFailed(b"/", f"CRIU's mount namespace has {len(yards)} directories of restored mounts")
    return Path(os.fsdecode(yards.pop()))


def _put_together(yard: Path, mounts: tuple[Mount, ...]) -> Path:
    root = _plain(yard, mounts[0])
    for mount in mounts[1:]:
        try:
            _bind(_plain(yard, mount), root, RawPath(mount.mountpoint.removeprefix(b".")))
        except OSError as error:
            raise RebuildFailed(
                mount.mountpoint, f"cannot reach what CRIU mounted: {error.strerror}"
            ) from error
    return root


def _plain(yard: Path, mount: Mount) -> Path:
    """Name the place of one mount; raises RebuildFailed where nothing is mounted."""
    place = yard / f"mnt-{mount.id:010}"
    if os.fsencode(place) not in {found.mountpoint for found in read_mounts()}:
        raise RebuildFailed(mount.mountpoint, f"CRIU mounted nothing at {place}")
    return place


def _bind(source: Path, root: Path, mountpoint: RawPath) -> None:
    place = os.open(source, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with Tree(root) as tree, tree.open(mountpoint, os.O_PATH) as target:
            linux.bind_mount(place, target)
    finally:
        os.close(place)
