"""Two directories trade names in one step: renameat2(2) with RENAME_EXCHANGE, which Python does not offer.

Interface: `put_in_place(new, place)`. Afterwards `place` is what was `new`; what was at `place` before, if anything, is
at `new`. There is no moment at which `place` is missing, except on a file system without the exchange (some network
file systems): there a crash between the three renames leaves the old one at `aside(place)`.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}

_libc = ctypes.CDLL(None, use_errno=True)


def put_in_place(new: Path, place: Path) -> None:
    """Give `new` the name `place`, and what has that name now the name `new`. Raises OSError."""
    if _is_taken(new, place) and not _exchange(new, place):
        place.rename(aside(place))
        new.rename(place)
        aside(place).rename(new)


def _is_taken(new: Path, place: Path) -> bool:
    """Give `new` the name `place` if nothing has it yet; say whether something has."""
    if not os.path.lexists(place):
        try:
            new.rename(place)
        except OSError as error:
            # Another container has put its own there in this moment.
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return False
    return True


def aside(place: Path) -> Path:
    """Return where the old one waits while there is no exchange: the store knows it as generation 0."""
    return place.with_name(".generation-0")


def _exchange(one: Path, other: Path) -> bool:
    """Return whether the two have traded names; False where the file system knows no exchange."""
    names = os.fsencode(one), os.fsencode(other)
    if _libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
