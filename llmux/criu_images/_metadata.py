"""What a file is besides its name and content: owner, mode, ACLs and other attributes, inode flags, times. Read and set by descriptor."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from llmux.criu_images._facts import Unheld
from llmux.criu_images._linux import change_flags, extended_stat
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import by_fd
from llmux.criu_images.manifest import Metadata, Xattr

_OF_THE_MACHINE = (b"security.selinux", b"security.ima", b"security.evm", b"trusted.overlay.")
"""Labels that belong to the place, not to the file: neither captured nor set."""
_ACL = b"system.posix_acl_access"
_DEFAULT_ACL = b"system.posix_acl_default"
_UNSUPPORTED = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL, errno.ENOSPC, errno.E2BIG}
)
_NAMELESS = os.O_TMPFILE | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC


def read_metadata(fd: int) -> Metadata:
    """Read what `apply_metadata` and `apply_flags` set, of any kind of node; raises OSError."""
    status = os.fstat(fd)
    return Metadata(
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        atime_ns=status.st_atime_ns,
        xattrs=_read_xattrs(fd),
        flags=extended_stat(fd).flags,
    )


def _read_xattrs(fd: int) -> tuple[Xattr, ...]:
    path = by_fd(fd)
    try:
        names = sorted(os.fsencode(name) for name in os.listxattr(path))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return ()
        raise
    kept = [name for name in names if not name.startswith(_OF_THE_MACHINE)]
    return tuple(Xattr(name=RawPath(name), value=RawPath(os.getxattr(path, name))) for name in kept)


def apply_metadata(fd: int, metadata: Metadata) -> None:
    """Set owner, mode, ACLs and other attributes, then times; raises OSError.

    Each may undo an earlier one: chown clears set-user-id bits and capabilities, chmod rewrites the ACL's mask. What a new node has
    inherited from its directory goes first: an ACL that the recorded one did not have.
    """
    path = by_fd(fd)
    os.chown(path, metadata.uid, metadata.gid)
    if not stat.S_ISLNK(metadata.mode):
        _drop_inherited_acls(path, metadata)
        Path(path).chmod(stat.S_IMODE(metadata.mode))
    for xattr in metadata.xattrs:
        os.setxattr(path, bytes(xattr.name), bytes(xattr.value))
    apply_times(fd, metadata)


def _drop_inherited_acls(path: str, metadata: Metadata) -> None:
    recorded = {xattr.name for xattr in metadata.xattrs}
    for name in (_ACL, _DEFAULT_ACL):
        if name not in recorded:
            with suppress(OSError):  # there is none, or the file system has no ACLs
                os.removexattr(path, name)


def apply_times(fd: int, metadata: Metadata) -> None:
    """Set access and modification time; raises OSError."""
    os.utime(by_fd(fd), ns=(metadata.atime_ns, metadata.mtime_ns))


def apply_flags(place: int, flags: int) -> None:
    """Add inode flags to the file or directory that the O_PATH descriptor `place` refers to, the last change it allows; raises OSError."""
    _change_flags(place, add=flags)


def clear_flags(place: int, flags: int) -> None:
    """Take inode flags off again, so that a file or a name can be removed; raises OSError."""
    _change_flags(place, remove=flags)


def _change_flags(place: int, *, add: int = 0, remove: int = 0) -> None:
    fd = os.open(by_fd(place), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        change_flags(fd, add=add, remove=remove)
    finally:
        os.close(fd)


def find_unheld(directory: int, metadata: Metadata) -> Unheld | None:
    """Try on a nameless file in `directory` which attributes and flags cannot be set there; None where all can, or where that cannot be tried."""
    try:
        fd = os.open(by_fd(directory), _NAMELESS, 0o600)
    except OSError:
        return None
    try:
        refused = frozenset(xattr.name for xattr in metadata.xattrs if not _holds(fd, xattr))
        unheld = Unheld(refused, flags=not _holds_flags(fd, metadata.flags))
    finally:
        os.close(fd)
    return unheld if unheld.xattrs or unheld.flags else None


def _holds(fd: int, xattr: Xattr) -> bool:
    # Only a directory takes a default ACL; wherever there are ACLs, there are both.
    name = _ACL if xattr.name == _DEFAULT_ACL else bytes(xattr.name)
    try:
        os.setxattr(fd, name, bytes(xattr.value))
    except OSError as error:
        return error.errno not in _UNSUPPORTED | {errno.EPERM}
    return True


def _holds_flags(fd: int, flags: int) -> bool:
    if not flags:
        return True
    try:
        change_flags(fd, add=flags)
        change_flags(fd, remove=flags)
    except OSError as error:
        return error.errno not in _UNSUPPORTED | {errno.EPERM}
    return True
