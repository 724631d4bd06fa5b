"""The members of a tar archive, one after the other, with nothing believed that an archive says.

`tarfile` parses each header. It is not left to walk the archive itself: it would read a long name of any length into memory, and take a
damaged header in the middle for the end.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from tarfile import HeaderError, TarInfo
from typing import Final

from llmux.criu_images._unpack import ByteStream
from llmux.criu_images.errors import NotADump

MAX_HEADERS = 1 << 20
"""Headers in one archive; one with the images of 100,000 processes has fewer."""
MAX_EXTENSION = 1 << 20
"""Bytes in a header that extends the next: a name of 4 KiB and the attributes of a file."""

_BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = bytes(_BLOCK)
_EXTENDED: Final = 482
"""Where an old GNU header of a file with holes says that more of their map follows; in the blocks that follow: `_MORE`."""
_MORE: Final = 504
_LINK_LIKE: Final = {tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE} | {
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
}
"""Types without data, whatever size they claim."""

Extensions = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Member:
    """One member; its data come next in the stream."""

    name: str
    type: bytes
    size: int
    """Bytes of data in the archive."""
    sparse: bool
    link: str

    @property
    def regular(self) -> bool:
        return self.type in tarfile.REGULAR_TYPES

    @property
    def symlink(self) -> bool:
        return self.type == tarfile.SYMTYPE


def read_members(stream: ByteStream) -> Iterator[Member]:
    """Yield each member; whoever gets it may read its data or a part of them.

    Raises NotADump for what is no tar archive, and ArchiveRefused.
    """
    common: Extensions = {}
    own: Extensions = {}
    for _ in range(MAX_HEADERS):
        at = stream.position
        block = _read_block(stream)
        if block is None:
            stream.drain()
            return
        header = _parse(stream, block, at)
        if header.type == tarfile.XGLTYPE:
            common |= _read_extension(stream, header)
        elif header.type in _EXTENDING:
            own |= _read_extension(stream, header)
        else:
            member = _member(stream, header, common | own)
            own = {}
            if header.type == tarfile.GNUTYPE_SPARSE:
                _skip_sparse_map(stream, block[_EXTENDED], member.name)
            start = stream.position
            yield member
            stored = 0 if member.type in _LINK_LIKE else _padded(member.size)
            stream.skip(start + stored - stream.position, member.name)
    raise stream.refused(f"it has more than {MAX_HEADERS} members")


def _read_block(stream: ByteStream) -> bytes | None:
    """Read a header; None at the end of the archive, which is a block of zeros."""
    at = stream.position
    block = stream.read(_BLOCK)
    if block == _END and at:
        return None
    if len(block) < _BLOCK and at:
        raise stream.refused(f"it is cut short, after {at + len(block)} bytes")
    return block


def _parse(stream: ByteStream, block: bytes, at: int) -> TarInfo:
    try:
        header = TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except HeaderError as error:
        if at:
            raise stream.refused(f"no tar header at byte {at}: {error}") from error
        raise NotADump(
            stream.path, "it is neither a directory nor a tar archive, plain or packed by gzip or zstd"
        ) from error
    if header.size < 0:
        raise stream.refused(f"a size of {header.size} bytes", header.name)
    return header


_EXTENDING: Final = {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME} | {
    tarfile.GNUTYPE_LONGLINK
}


def _read_extension(stream: ByteStream, header: TarInfo) -> Extensions:
    if header.size > MAX_EXTENSION:
        raise stream.refused(f"an extended header of {header.size} bytes", header.name)
    data = stream.exactly(_padded(header.size), header.name)[: header.size]
    match header.type:
        case tarfile.GNUTYPE_LONGNAME:
            return {b"path": data.partition(b"\0")[0]}
        case tarfile.GNUTYPE_LONGLINK:
            return {b"linkpath": data.partition(b"\0")[0]}
        case _:
            return dict(_pax_records(stream, header.name, data))


def _pax_records(stream: ByteStream, name: str, data: bytes) -> Iterator[tuple[bytes, bytes]]:
    r"""Parse records of the form `LENGTH KEY=VALUE\n` (pax(1))."""
    at = 0
    while at < len(data) and data[at]:
        number = data[at : at + 8].partition(b" ")[0]
        length = int(number) if number.isdigit() else 0
        record = data[at : at + length]
        key, equals, value = record[len(number) + 1 : -1].partition(b"=")
        if not equals or record[-1:] != b"\n" or len(record) < length:
            raise stream.refused(f"byte {at} of an extended header is no record of one", name)
        yield key, value
        at += length


def _member(stream: ByteStream, header: TarInfo, extensions: Extensions) -> Member:
    name = extensions.get(b"GNU.sparse.name") or extensions.get(b"path")
    link, size = extensions.get(b"linkpath"), extensions.get(b"size")
    return Member(
        name=header.name if name is None else os.fsdecode(name),
        type=header.type,
        size=header.size if size is None else _size(stream, header, size),
        sparse=header.type == tarfile.GNUTYPE_SPARSE
        or any(key.startswith(b"GNU.sparse.") for key in extensions),
        link=header.linkname if link is None else os.fsdecode(link),
    )


def _size(stream: ByteStream, header: TarInfo, text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise stream.refused(f"a size of {os.fsdecode(text[:40])!r}", header.name)
    return int(text)


def _skip_sparse_map(stream: ByteStream, more: int, name: str) -> None:
    """Skip the blocks that go on with the map of holes (GNU tar's old form)."""
    while more:
        more = stream.exactly(_BLOCK, name)[_MORE]


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
