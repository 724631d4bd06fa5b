"""A checkpoint archive of podman or CRI-O as a source of images: a tar, plain or packed, read once and never unpacked.

Their images are at `checkpoint/NAME`; a tar of the images alone has them at `NAME`. What is kept in memory are the images' entries, without
the payloads between them; of memory pages, and of what else is not read, the names and sizes alone. Nothing is written anywhere.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from io import BytesIO

from llmux.criu_images._entry import Entry
from llmux.criu_images._formats import STATS, ImageFormat, reading_of
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import ParentImages
from llmux.criu_images._source import HEAD
from llmux.criu_images._tar import Member, read_members
from llmux.criu_images._unpack import ByteStream
from llmux.criu_images._wire import read_entries
from llmux.criu_images.errors import ArchiveRefused, DamagedImage

MAX_KEPT = 256 << 20
"""Bytes kept of one archive: the entries of a dump with a million files."""

_FOLDER = "checkpoint"
_MANIFEST = "llmux-manifest.json"
_STATS = ("stats-dump", "stats-restore")
_PARENT = "parent"
_OVERHEAD = 512
"""Bytes counted for each image besides its own."""


@dataclass(frozen=True, slots=True)
class _Image:
    size: int
    data: bytes
    """What was read of it, without what was skipped."""


class _Budget:
    """Bounds what is kept of an archive."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._left = MAX_KEPT

    def take(self, size: int, member: str) -> None:
        self._left -= size
        if self._left < 0:
            raise self._stream.refused(f"more than {MAX_KEPT} bytes of entries to keep", member)


class _Recorder:
    """A member's data as a stream that keeps what is read of it."""

    def __init__(self, stream: ByteStream, member: Member, budget: _Budget) -> None:
        self._stream = stream
        self._member = member
        self._budget = budget
        self._left = member.size
        self.data = bytearray()

    def read(self, size: int) -> bytes:
        size = min(size, self._left)
        self._budget.take(size, self._member.name)
        data = self._stream.exactly(size, self._member.name)
        self._left -= size
        self.data += data
        return data

    def seek(self, offset: int, whence: int) -> int:
        assert whence == os.SEEK_CUR  # noqa: S101 - as `_wire` skips
        self._stream.skip(offset, self._member.name)
        self._left -= offset
        return 0


class _Replay(BytesIO):
    """What a recorder kept, for the same reader again: what it skips is not there."""

    def seek(self, offset: int, whence: int = 0, /) -> int:  # noqa: ARG002 - BytesIO's signature
        return self.tell()


class _Collector:
    """Gathers the images of each folder that may hold a dump."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._budget = _Budget(stream)
        self.images: defaultdict[str, dict[str, _Image]] = defaultdict(dict)
        self.parents: dict[str, str] = {}

    def add(self, member: Member) -> None:
        folder, name = self._place(member)
        if folder not in {"", _FOLDER}:
            return
        if name == _PARENT and member.symlink:
            self._budget.take(_OVERHEAD + len(member.link), member.name)
            self.parents[folder] = member.link
        elif name.endswith(".img") or name in {_MANIFEST, *_STATS}:
            self._add_image(member, folder, name)

    def _place(self, member: Member) -> tuple[str, str]:
        parts = member.name.split("/")
        if member.name.startswith("/") or ".." in parts:
            raise self._stream.refused("a name that leads out of the archive", member.name)
        *folders, name = [part for part in parts if part not in {"", "."}] or [""]
        return "/".join(folders), name

    def _add_image(self, member: Member, folder: str, name: str) -> None:
        if not member.regular:
            raise self._stream.refused("an image that is no regular file", member.name)
        if name in self.images[folder]:
            raise self._stream.refused("an image that is in the archive twice", member.name)
        self._budget.take(_OVERHEAD + len(name), member.name)
        self.images[folder][name] = _Image(member.size, self._read(member, name))

    def _read(self, member: Member, name: str) -> bytes:
        recorder = _Recorder(self._stream, member, self._budget)
        reading = STATS if name in _STATS else reading_of(name)
        if name == _MANIFEST:
            recorder.read(member.size)
        elif not isinstance(reading, ImageFormat):
            recorder.read(HEAD)
        elif member.sparse:
            raise self._stream.refused("an image stored with holes: pack without --sparse", member.name)
        else:
            with suppress(DamagedImage):  # Whoever reads what was recorded meets the same.
                for _ in read_entries(recorder, member.size, name, reading):
                    pass
        return bytes(recorder.data)


class ArchiveSource:
    """The images of an archive, as far as they are needed."""

    def __init__(self, path: str) -> None:
        self.label = path
        with closing(ByteStream(path)) as stream:
            collector = _Collector(stream)
            for member in read_members(stream):
                collector.add(member)
        folder = _choose(path, collector)
        # podman keeps CRIU's statistics beside the folder of the images.
        beside = {name: image for name, image in collector.images[""].items() if name in _STATS}
        self._images = beside | collector.images[folder]
        self._parent = collector.parents.get(folder)

    def names(self) -> Sequence[str]:
        return sorted(self._images)

    def entries(self, name: str, image_format: ImageFormat) -> Iterator[Entry] | None:
        image = self._images.get(name)
        return None if image is None else read_entries(_Replay(image.data), image.size, name, image_format)

    def size(self, name: str) -> int:
        return self._images[name].size

    def head(self, name: str) -> bytes:
        return self._images[name].data[:HEAD]

    def manifest(self) -> bytes | None:
        """Return the manifest that capture wrote beside the images; None where there is none."""
        image = self._images.get(_MANIFEST)
        return None if image is None else image.data

    def parents(self) -> tuple[ParentImages, ...]:
        if self._parent is None:
            return ()
        link = RawPath(os.fsencode(self._parent))
        return (ParentImages(link, link, "it is not looked for outside the archive"),)

    def close(self) -> None: ...


def _choose(path: str, collector: _Collector) -> str:
    """Choose the folder that holds the dump."""
    found = [folder for folder in (_FOLDER, "") if "inventory.img" in collector.images[folder]]
    if len(found) > 1:
        raise ArchiveRefused(path, "a dump at the top and another in this folder", _FOLDER)
    return found[0] if found else _FOLDER
