"""Names mount namespaces so that a later one is not taken for one that has ended. Imports next to nothing: the hook needs it with CRIU's tree stopped."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_NS_GET_MNTNS_ID = 0x8008B705
"""linux/nsfs.h: `_IOR(0xb7, 0x5, __u64)`."""
_NOT_KNOWN = {errno.ENOTTY, errno.EINVAL}


def lasting_name(process: int | str = "self") -> str:
    """Return the number of a process's mount namespace that the kernel never gives to another; raises OSError.

    Kernels before 6.11 have none such. There it is the inode number, which the next namespace that is made may get once this one has ended.
    """
    fd = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        (number,) = struct.unpack("=Q", fcntl.ioctl(fd, _NS_GET_MNTNS_ID, bytes(8)))
    except OSError as error:
        if error.errno not in _NOT_KNOWN:
            raise
        number = os.fstat(fd).st_ino
    finally:
        os.close(fd)
    return str(number)
