"""The fields of a form, found where they lie in its bytes, so that one can be replaced and the rest stays as it is. Pure.

RFC 2046 section 5.1.1 (delimiters), RFC 7578 (names of fields).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser, HeaderParser
from email.policy import HTTP

from llmux.server.errors import RequestInvalid

MOST = 256
"""Parts of a form; reading the headers of each takes time, and an upload has a dozen."""
_NAMED = re.compile(r";\s*boundary\s*[*=]", re.IGNORECASE)
_HEADERS_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Part:
    """A field: its value lies from `start` to `end`."""

    name: object
    start: int
    end: int


def parts(content_type: str, body: bytes) -> Iterator[Part]:
    """Yield a form's fields; none where the header names no boundary, or the body does not have it. Raises RequestInvalid."""
    boundary = _boundary(content_type)
    if not boundary:
        return
    delimiter = b"\r\n--" + boundary
    at = 0 if body.startswith(delimiter[2:]) else body.find(delimiter) + 2
    if at < 2 and not body.startswith(delimiter[2:]):
        return
    if body.count(delimiter) > MOST:
        raise RequestInvalid(f"the form has more than {MOST} parts", None)
    at += len(delimiter) - 2
    while (end := body.find(delimiter, at)) >= 0:
        headers_end = body.find(_HEADERS_END, at, end)
        if headers_end >= 0:
            yield Part(_name(body[at:headers_end]), headers_end + len(_HEADERS_END), end)
        at = end + len(delimiter)


def _boundary(content_type: str) -> bytes:
    if len(_NAMED.findall(content_type)) > 1:  # engines differ in which they take
        raise RequestInvalid("the header Content-Type names more than one boundary", None)
    header = b"Content-Type: " + content_type.encode("latin-1", "replace") + _HEADERS_END
    try:
        boundary = BytesParser(policy=HTTP).parsebytes(header).get_boundary()
    except (
        IndexError,
        ValueError,
    ) as error:  # what the standard library's parser raises for some that are none
        raise RequestInvalid("the header Content-Type cannot be read", None) from error
    return (boundary or "").encode("latin-1", "replace")


def _name(headers: bytes) -> object:
    # A part's headers are MIME headers, so the standard library's parser reads them.
    message: Message = HeaderParser().parsestr(headers.decode("utf-8", "replace").lstrip())
    return message.get_param("name", header="content-disposition")
