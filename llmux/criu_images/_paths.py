r"""One reversible text form for the raw bytes that Linux calls a path.

A path may hold any byte but NUL (an abstract socket name even that), so a dump's paths stay `bytes` inside the library.
Wherever one is shown or stored as text it is escaped: a backslash becomes ``\\``, a newline ``\n``, every other
control character, unprintable character and byte that is not UTF-8 becomes ``\xNN`` per byte, and so does a space at
either end, which nobody would see.
"""

from __future__ import annotations

import re
from typing import NewType

RawPath = NewType("RawPath", bytes)
"""An absolute path, a relative name or a socket name, exactly as the kernel holds it (no trailing NUL)."""

_SPACE_AT_AN_END = re.compile(r"\A | \Z")
_ESCAPED = re.compile(r"\\(\\|n|x[0-9a-f]{2})|\\")


def escape(path: bytes) -> str:
    """Return `path` as one printable line; `unescape` gives the same bytes back."""
    text = path.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text and text.strip(" ") == text:
        return text  # as nearly all do
    text = "".join(map(_escape_char, text))
    return _SPACE_AT_AN_END.sub(r"\\x20", text)


def unescape(text: str) -> RawPath:
    """Return the bytes that `escape` made `text` from.

    Raises ValueError where a backslash starts none of the three escapes.
    """
    out = bytearray()
    end = 0
    for match in _ESCAPED.finditer(text):
        out += text[end : match.start()].encode()
        out += _unescape_one(match.group(1), text)
        end = match.end()
    out += text[end:].encode()
    return RawPath(bytes(out))


def _escape_char(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if char == "\n":
        return "\\n"
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _unescape_one(code: str | None, text: str) -> bytes:
    match code:
        case None:
            raise ValueError(f"a backslash that starts no escape in {text!r}")
        case "\\":
            return b"\\"
        case "n":
            return b"\n"
        case _:
            return bytes.fromhex(code[1:])
