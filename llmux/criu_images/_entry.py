"""One raw image entry: typed access to its fields, with errors that name image, entry and field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from llmux.criu_images._paths import RawPath
from llmux.criu_images._record import record
from llmux.criu_images.errors import DamagedImage


class Message(Protocol):
    """What we use of protobuf's generated classes; fields are attributes besides."""

    def HasField(self, field_name: str) -> bool:  # noqa: N802 - protobuf's name
        ...


@record
class Entry:
    """An entry of an image, or a message nested in one.

    Every accessor takes a field's name in CRIU's `images/*.proto`. Those that start with `maybe_` return None where the
    field is absent; the others raise DamagedImage then. No field has a default (`_wire.py` drops them): one that is not 0 was set.
    """

    image: str
    index: int
    message: Message
    end: int = 0
    """Where the entry's message ends in the image, and its payload may begin, in bytes."""
    prefix: str = ""
    """The dotted path that leads to a nested message, with its final dot."""

    def damaged(self, name: str, why: str) -> DamagedImage:
        return DamagedImage(self.image, why, entry=self.index, field=self.prefix + name)

    def has(self, name: str) -> bool:
        """Whether an optional field is set; False too where the installed pycriu does not know the field yet."""
        try:
            return self.message.HasField(name)
        except ValueError:
            return False

    def maybe_number(self, name: str) -> int | None:
        try:  # not by way of `has`, nor `number` by way of this: they are called ten times for each file
            value: int = getattr(self.message, name)
            if value or self.message.HasField(name):
                return value
        except (AttributeError, ValueError):
            pass
        return None

    def number(self, name: str) -> int:
        try:
            value: int = getattr(self.message, name)
            if value or self.message.HasField(name):
                return value
        except (AttributeError, ValueError):
            pass
        raise self.damaged(name, "is missing")

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return a repeated field."""
        values: Sequence[int] = getattr(self.message, name)
        return tuple(values) if len(values) else ()  # protobuf's iterator takes its time

    def maybe_numbers(self, name: str) -> tuple[int, ...]:
        """Return a repeated field; nothing too where the installed pycriu does not know the field yet."""
        return tuple(getattr(self.message, name, ()))

    def flag(self, name: str) -> bool:
        """Return whether a number is there and not 0."""
        return bool(getattr(self.message, name, 0))

    def maybe_raw(self, name: str) -> bytes | None:
        try:
            value: bytes = getattr(self.message, name)
            if value or self.message.HasField(name):
                return value
        except (AttributeError, ValueError):
            pass
        return None

    def raw(self, name: str) -> bytes:
        value = self.maybe_raw(name)
        if value is None:
            raise self.damaged(name, "is missing")
        return value

    def raws(self, name: str) -> tuple[bytes, ...]:
        values: Iterable[bytes] = getattr(self.message, name)
        return tuple(values)

    def maybe_path(self, name: str) -> RawPath | None:
        value = self.maybe_raw(name)
        if value is None:
            return None
        return self._checked_path(name, value)

    def path(self, name: str) -> RawPath:
        return self._checked_path(name, self.raw(name))

    def _checked_path(self, name: str, value: bytes) -> RawPath:
        if 0 in value:
            raise self.damaged(name, "a path with a NUL byte")
        return RawPath(value)

    def maybe_nested(self, name: str) -> Entry | None:
        try:
            if self.message.HasField(name):
                return self._nest(name, getattr(self.message, name))
        except ValueError:
            pass
        return None

    def nested(self, name: str) -> Entry:
        entry = self.maybe_nested(name)
        if entry is None:
            raise self.damaged(name, "is missing")
        return entry

    def each(self, name: str) -> Iterator[Entry]:
        """Yield the messages of a repeated field."""
        messages: Iterable[Message] = getattr(self.message, name)
        for number, message in enumerate(messages):
            yield self._nest(f"{name}[{number}]", message)

    def _nest(self, name: str, message: Message) -> Entry:
        return Entry(self.image, self.index, message, self.end, f"{self.prefix}{name}.")
