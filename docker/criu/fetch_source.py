"""Fetch a release's tar, compare its checksum, unpack it without its top directory: `fetch_source.py URL SHA256 DIRECTORY`.

Runs with whatever Python 3 the image being built has. Nothing is unpacked of a file whose checksum is another.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import BinaryIO

_SECONDS = 60
_CHUNK = 1 << 20


def main(url: str, sha256: str, directory: str) -> str | None:
    """Return what is wrong; None where all is well."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return f"CRIU_SHA256 must be 64 lower-case hexadecimal digits, and is {sha256!r}"
    with tempfile.TemporaryFile() as archive:
        try:
            found = _fetch(url, archive)
        except (OSError, ValueError) as error:
            return f"{url} cannot be fetched: {error}. Give another one as CRIU_SOURCE"
        if found != sha256:
            return f"{url} has the checksum {found}, not CRIU_SHA256 ({sha256}); give both of one release"
        archive.seek(0)
        try:
            _unpack(archive, Path(directory))
        except tarfile.TarError as error:
            return f"{url} is no tar that can be read: {error}"
    return None


def _fetch(url: str, archive: BinaryIO) -> str:
    """Write what is at `url` into `archive`, and return its checksum."""
    checksum = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=_SECONDS) as response:
        while chunk := response.read(_CHUNK):
            checksum.update(chunk)
            archive.write(chunk)
    return checksum.hexdigest()


def _unpack(archive: BinaryIO, directory: Path) -> None:
    with tarfile.open(fileobj=archive) as opened:
        if hasattr(tarfile, "tar_filter"):  # Python 3.12 warns of its absence; 3.14 takes a stricter one
            opened.extraction_filter = tarfile.tar_filter
        for member in opened:
            _, _, inside = member.name.partition("/")
            if inside:
                member.name = inside
                opened.extract(member, directory)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
