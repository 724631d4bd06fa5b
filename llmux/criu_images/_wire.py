"""CRIU's image files to raw entries: the only module that touches pycriu and protobuf.

An image is a magic number and then entries: a 32-bit length, a protobuf message of that length and, in some images, a payload
whose length the message says (pycriu's `images.py`, CRIU's `image.h`). Payloads are skipped, never read. Memory stays bounded
by the file's own size: a length is compared with what is left of the file before anything is read.

CRIU's proto2 `string` fields hold whatever bytes the kernel returned for a path. Most of protobuf's languages refuse or change
those that are not UTF-8, so we parse with message types of our own: pycriu's descriptors in a private pool, each `string`
turned into `bytes`. Each enum is turned into `int32`, because proto2 drops a number that its enum does not know. Defaults are
dropped: what an entry does not say is not there. None of this changes the encoding on the wire.
"""

from __future__ import annotations

import functools
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Protocol

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from llmux.criu_images._entry import Entry
from llmux.criu_images._formats import INVENTORY, ImageFormat, Parts
from llmux.criu_images.errors import DamagedImage, PycriuIncompatible, PycriuMissing

DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages"
"""Where Debian's python3-pycriu lives, unseen by a virtual environment and by another Python than Debian's."""

MAX_ENTRY = 64 << 20
"""Bytes in one entry: the greatest, an `mm_entry` of 65530 mappings (vm.max_map_count), has about 4 MiB."""
MAX_ENTRIES = 1 << 22
"""Entries in one image: four times the kernel's default limit of descriptors in a process (fs.nr_open)."""

_WORD = struct.Struct("=I")


class Stream(Protocol):
    """What an image's bytes are read from: forwards only."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, whence: int, /) -> int: ...


def read_entries(stream: Stream, size: int, image: str, image_format: ImageFormat) -> Iterator[Entry]:
    """Yield the entries of one image of `size` bytes.

    Raises DamagedImage for anything CRIU would not have written, PycriuMissing and PycriuIncompatible.
    """
    schema = load_schema()
    reader = _Reader(stream, size, image)
    reader.check_magic(schema, image_format.magic)
    message_class = schema.message(image_format.message)
    parts = image_format.parts
    part_class = None if parts is None else schema.message(parts.message)
    index = 0
    while reader.left:
        if index == MAX_ENTRIES:
            raise reader.damaged(f"more than {MAX_ENTRIES} entries", index)
        entry = reader.entry(message_class, index)
        yield entry
        if image_format.single:
            return
        if image_format.payload is not None:
            reader.skip(image_format.payload(entry), index)
        if parts is not None and part_class is not None:
            _skip_parts(reader, entry, parts, part_class)
        index += 1


def _skip_parts(reader: _Reader, entry: Entry, parts: Parts, part_class: type[Message]) -> None:
    for _ in range(parts.count(entry)):
        reader.skip(parts.payload(reader.entry(part_class, entry.index)), entry.index)


class _Reader:
    """A place in an image, and what is left after it."""

    def __init__(self, stream: Stream, size: int, image: str) -> None:
        self._stream = stream
        self._image = image
        self._size = size
        self.left = size

    def damaged(self, why: str, index: int | None = None) -> DamagedImage:
        return DamagedImage(self._image, why, entry=index, offset=self._size - self.left)

    def check_magic(self, schema: Schema, wanted: str) -> None:
        magic = self._magic_number()
        if magic in {schema.magics["IMG_COMMON"], schema.magics["IMG_SERVICE"]}:
            magic = self._magic_number()
        if magic != schema.magics[wanted]:
            raise self.damaged(f"not a {wanted} image: {_what_it_is(schema, magic)}")

    def entry(self, message_class: type[Message], index: int) -> Entry:
        word = self._stream.read(4)
        if len(word) < 4:
            raise self.damaged("cut short in an entry's length", index)
        self.left -= 4
        length: int = _WORD.unpack(word)[0]
        if length > self.left:
            raise self.damaged(f"an entry of {length} bytes where {self.left} are left", index)
        if length > MAX_ENTRY:
            raise self.damaged(f"an entry of {length} bytes; the greatest that can be is {MAX_ENTRY}", index)
        data = self._stream.read(length)
        if len(data) < length:
            raise self.damaged("cut short in an entry", index)
        self.left -= length
        try:
            message = message_class.FromString(data)
        except DecodeError as error:
            raise self.damaged(f"not a {message_class.DESCRIPTOR.name}: {error}", index) from error
        return Entry(self._image, index, message, self._size - self.left)

    def skip(self, length: int, index: int) -> None:
        if length > self.left:
            raise self.damaged(f"a payload of {length} bytes where {self.left} are left", index)
        self._stream.seek(length, 1)
        self.left -= length

    def _magic_number(self) -> int:
        word = self._stream.read(min(_WORD.size, self.left))
        if len(word) < _WORD.size:
            raise self.damaged("cut short in the magic number")
        self.left -= _WORD.size
        magic: int = _WORD.unpack(word)[0]
        return magic


def _what_it_is(schema: Schema, magic: int) -> str:
    if found := schema.names.get(magic):
        return f"it is {found}"
    swapped = int.from_bytes(magic.to_bytes(4, "little"), "big")
    if swapped in schema.names:
        return "it was written on a machine of the other byte order, where alone it can be read and restored"
    return f"its magic number is {magic:#x}"


def name_of_magic(head: bytes) -> str:
    """Say what an image is by its first bytes, in words."""
    schema = load_schema()
    words = [_WORD.unpack_from(head, offset)[0] for offset in range(0, len(head) - 3, _WORD.size)]
    if words and words[0] in {schema.magics["IMG_COMMON"], schema.magics["IMG_SERVICE"]}:
        words = words[1:]
    return _what_it_is(schema, words[0]) if words else "it is too short for a magic number"


class Schema:
    """What pycriu knows of the images' format, with message types rewritten as this module's head says."""

    def __init__(self, origin: str, magic: ModuleType, messages: ModuleType) -> None:
        self.origin = origin
        self._messages = messages
        self._pool = DescriptorPool()
        self._added: set[str] = set()
        self.magics: dict[str, int] = magic.by_name
        self.names: dict[int, str] = magic.by_val

    def message(self, name: str) -> type[Message]:
        """Return the class of a message of CRIU's `images/*.proto`.

        Raises PycriuIncompatible where pycriu has none of that name.
        """
        try:
            described: FileDescriptor = getattr(self._messages, name).DESCRIPTOR.file
        except AttributeError as error:
            raise PycriuIncompatible(self.origin, f"it has no {name}") from error
        self._add(described)
        return GetMessageClass(self._pool.FindMessageTypeByName(name))

    def _add(self, described: FileDescriptor) -> None:
        if described.name in self._added:
            return
        self._added.add(described.name)
        proto = FileDescriptorProto.FromString(described.serialized_pb)
        # Options only say how to print a field; without them the file that defines them is not needed either.
        wanted = [file for file in described.dependencies if file.name != "opts.proto"]
        for file in wanted:
            self._add(file)
        proto.dependency[:] = [file.name for file in wanted]
        for message in proto.message_type:
            _rewrite(message)
        self._pool.Add(proto)


def _rewrite(message: DescriptorProto) -> None:
    for nested in message.nested_type:
        _rewrite(nested)
    for field in message.field:
        field.ClearField("options")
        field.ClearField("default_value")
        if field.type == FieldDescriptorProto.TYPE_STRING:
            field.type = FieldDescriptorProto.TYPE_BYTES
        elif field.type == FieldDescriptorProto.TYPE_ENUM:
            field.type = FieldDescriptorProto.TYPE_INT32
            field.ClearField("type_name")


def check_pycriu() -> None:
    """Find out now whether images can be read at all; raises PycriuMissing or PycriuIncompatible."""
    load_schema().message(INVENTORY.message)


@functools.cache
def load_schema() -> Schema:
    """Load pycriu's description of the images, once.

    Raises PycriuMissing or PycriuIncompatible.
    """
    spec = find_spec("pycriu") or PathFinder.find_spec("pycriu", [DEBIAN_PACKAGES])
    if spec is None or spec.loader is None:
        raise PycriuMissing((DEBIAN_PACKAGES,))
    origin = spec.origin or "pycriu"
    try:
        with _path_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _import_from(spec)
            return Schema(origin, import_module("pycriu.images.magic"), import_module("pycriu.images.pb"))
    except Exception as error:  # What foreign code raises while it is imported can't be foreseen.
        raise PycriuIncompatible(origin, f"{type(error).__name__}: {error}") from error


@contextmanager
def _path_kept() -> Iterator[None]:
    """Take back what `pycriu.images` does to Python's path: it adds its own folder, with names as general as `magic`."""
    path = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path


def _import_from(spec: ModuleSpec) -> None:
    """Import the package from its own place alone: nothing else beside it becomes importable."""
    if spec.name in sys.modules:
        return
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        assert spec.loader is not None  # noqa: S101 - `load_schema` has checked it; mypy can't see that
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
