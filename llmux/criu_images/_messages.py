"""CRIU's messages as one table: what it prints, which demand that speaks of, what it means and what mends it.

`says` is CRIU's own format string with its holes named, log prefix included (`unix: `), the text of errno left off. The same row explains a log
(`Message.match`) and words a conflict of a plan as CRIU would (`Message.say`). The texts were taken from CRIU 3.17 to 4.2; the rows are in
`_messages_*.py`, `_message_table.py` puts them together.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_HOLE = re.compile(r"\{(\w+)\}")
_SHAPES = {
    **dict.fromkeys(("pid", "number", "fd", "found", "expected", "code", "inode"), re.compile(rb"-?\d+")),
    **dict.fromkeys(("id", "hex"), re.compile(rb"(?:0x)?[0-9a-f]+")),
    **dict.fromkeys(("mode", "expected_mode"), re.compile(rb"0?[0-7]+")),
}
"""What stands in a hole of this name; in any other, anything."""


class Rank(enum.Enum):
    """What an error is worth as an explanation of a failure."""

    CAUSE = "cause"
    EFFECT = "effect"
    """Follows from another error, and says little by itself."""
    HARMLESS = "harmless"
    """CRIU goes on after it: it tries what the kernel can do, and prints an error where it can't."""


@dataclass(frozen=True, slots=True)
class Match:
    """A message as it was found in a log."""

    values: Mapping[str, bytes]
    errno: str | None
    """The name of the error number that CRIU added, such as ENOENT."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of CRIU's."""

    demand: str
    """The id of the demand, as docs/coverage.md lists them, or one of `OWN_DEMANDS`."""
    says: str
    means: str
    mends: str
    errno: str | None = None
    """Only with this error number."""
    rank: Rank = Rank.CAUSE
    until: str | None = None
    """The last of CRIU's releases known to have this text, where the newest has another."""
    _parts: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    _holes: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = _HOLE.split(self.says)
        object.__setattr__(self, "_parts", tuple(part.encode() for part in parts[::2]))
        object.__setattr__(self, "_holes", tuple(parts[1::2]))

    @property
    def holes(self) -> tuple[str, ...]:
        return self._holes

    @property
    def start(self) -> bytes:
        """The text before the first hole."""
        return self._parts[0]

    @property
    def words(self) -> int:
        """How many bytes of it are text, not values."""
        return sum(map(len, self._parts))

    def say(self, *, errno: str | None = None, **values: str | int) -> str:
        """Write the message as CRIU prints it; a hole without a value becomes `...`."""
        number = errno or self.errno
        if number is not None:
            values.setdefault("code", -_NUMBERS[number])
        text = _HOLE.sub(lambda hole: str(values.get(hole[1], "...")), self.says)
        return text if number is None or "{code}" in self.says else f"{text}: {ERRNO_TEXTS[number]}"

    def match(self, text: bytes) -> Match | None:
        """Read the values out of a line's text, if it is this message.

        Linear in the text's length, whatever it holds: each part is looked for once, the last one from the end.
        """
        if not text.startswith(self._parts[0]):
            return None
        ends = _tails(text, self._parts[-1])
        for end, errno in ends:
            values = self._values(text, end)
            if values is not None:
                found = Match(values, errno or _errno_of_code(values.get("code")))
                return found if self.errno in {None, found.errno} else None
        return None

    def _values(self, text: bytes, end: int) -> dict[str, bytes] | None:
        """Cut out what stands in the holes of `text[:end]`, which ends with the last part."""
        if not self._holes:
            return {} if end == len(self._parts[0]) else None
        values = {}
        at = len(self._parts[0])
        stops = [*self._parts[1:-1], None]
        for hole, part in zip(self._holes, stops, strict=True):
            stop = end - len(self._parts[-1]) if part is None else text.find(part, at, end)
            if stop < at or not _fits(hole, text[at:stop]):
                return None
            values[hole] = text[at:stop]
            at = stop + len(part or b"")
        return values


def _fits(hole: str, value: bytes) -> bool:
    shape = _SHAPES.get(hole)
    return shape is None or value == b"..." or shape.fullmatch(value) is not None


def _tails(text: bytes, last: bytes) -> list[tuple[int, str | None]]:
    """Return where the message proper may end: before the text of an error number, or at the very end."""
    tails: list[tuple[int, str | None]] = []
    before, colon, reason = text.rpartition(b": ")
    errno = _ERRNO_NAMES.get(reason)
    if colon and errno is not None and before.endswith(last):
        tails.append((len(before), errno))
    if text.endswith(last):
        tails.append((len(text), None))
    return tails


def errno_of(text: bytes) -> str | None:
    """Name the error number at the end of any text of CRIU's."""
    return _ERRNO_NAMES.get(text.rpartition(b": ")[2])


def _errno_of_code(code: bytes | None) -> str | None:
    """Name a negative return value such as -17."""
    return None if code is None or code == b"..." else _ERRNO_NUMBERS.get(abs(int(code)))


_ERRNOS = (
    (1, "EPERM", "Operation not permitted"),
    (2, "ENOENT", "No such file or directory"),
    (3, "ESRCH", "No such process"),
    (4, "EINTR", "Interrupted system call"),
    (5, "EIO", "Input/output error"),
    (6, "ENXIO", "No such device or address"),
    (9, "EBADF", "Bad file descriptor"),
    (10, "ECHILD", "No child processes"),
    (11, "EAGAIN", "Resource temporarily unavailable"),
    (12, "ENOMEM", "Cannot allocate memory"),
    (13, "EACCES", "Permission denied"),
    (14, "EFAULT", "Bad address"),
    (16, "EBUSY", "Device or resource busy"),
    (17, "EEXIST", "File exists"),
    (18, "EXDEV", "Invalid cross-device link"),
    (19, "ENODEV", "No such device"),
    (20, "ENOTDIR", "Not a directory"),
    (21, "EISDIR", "Is a directory"),
    (22, "EINVAL", "Invalid argument"),
    (23, "ENFILE", "Too many open files in system"),
    (24, "EMFILE", "Too many open files"),
    (25, "ENOTTY", "Inappropriate ioctl for device"),
    (26, "ETXTBSY", "Text file busy"),
    (27, "EFBIG", "File too large"),
    (28, "ENOSPC", "No space left on device"),
    (30, "EROFS", "Read-only file system"),
    (31, "EMLINK", "Too many links"),
    (32, "EPIPE", "Broken pipe"),
    (36, "ENAMETOOLONG", "File name too long"),
    (38, "ENOSYS", "Function not implemented"),
    (39, "ENOTEMPTY", "Directory not empty"),
    (40, "ELOOP", "Too many levels of symbolic links"),
    (75, "EOVERFLOW", "Value too large for defined data type"),
    (92, "ENOPROTOOPT", "Protocol not available"),
    (93, "EPROTONOSUPPORT", "Protocol not supported"),
    (95, "EOPNOTSUPP", "Operation not supported"),
    (97, "EAFNOSUPPORT", "Address family not supported by protocol"),
    (98, "EADDRINUSE", "Address already in use"),
    (99, "EADDRNOTAVAIL", "Cannot assign requested address"),
    (101, "ENETUNREACH", "Network is unreachable"),
    (104, "ECONNRESET", "Connection reset by peer"),
    (107, "ENOTCONN", "Transport endpoint is not connected"),
    (110, "ETIMEDOUT", "Connection timed out"),
    (111, "ECONNREFUSED", "Connection refused"),
    (113, "EHOSTUNREACH", "No route to host"),
    (116, "ESTALE", "Stale file handle"),
    (122, "EDQUOT", "Disk quota exceeded"),
)
"""Linux's error numbers (asm-generic/errno.h) with glibc's English texts, which CRIU always prints: it sets no locale."""
ERRNO_TEXTS: Mapping[str, str] = {name: text for _, name, text in _ERRNOS}
_ERRNO_NAMES = {text.encode(): name for _, name, text in _ERRNOS}
_ERRNO_NUMBERS = {number: name for number, name, _ in _ERRNOS}
_NUMBERS = {name: number for number, name, _ in _ERRNOS}

OWN_DEMANDS: Mapping[str, str] = {
    "action-script": "what --action-script names",
    "rights": "capabilities and permissions",
    "memory": "memory and descriptors",
    "disk": "room on the disk",
    "images": "the images themselves",
    "options": "the options CRIU was given",
    "task-death": "a task that ended too early",
    "criu": "CRIU and the kernel",
}
"""What a restore or a dump needs besides the kinds of references, with a name for people."""
