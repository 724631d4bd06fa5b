"""Real dumps of which an entry says something else, comes twice or is gone: shown, or refused with an error of ours."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import live
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from published import check
from shown import render_json

from llmux.criu_images._dump import read_dump
from llmux.criu_images._formats import ImageFormat, reading_of
from llmux.criu_images._graph import take_graph
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report import render
from llmux.criu_images._report_dot import dot_lines
from llmux.criu_images._report_tree import render_tree, render_tree_json
from llmux.criu_images._wire import read_entries
from llmux.criu_images.errors import CriuImagesError

pytestmark = pytest.mark.demand("damaged")

NUMBERS = [0, 1, 2, 7, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1, -1, -(2**31), 10**6]
TEXTS = [b"", b"\0", b"/", b"..", b"/../x", b"relative", b"/a\0b", b"\xff\n\x1b[2J", b"/" + b"n" * 5000]


@dataclass(frozen=True)
class Place:
    """An entry of an image, and where its bytes are."""

    path: Path
    data: bytes
    start: int
    end: int
    message: Message

    def replaced(self, new: bytes) -> bytes:
        return self.data[: self.start] + new + self.data[self.end :]


def places_in(path: Path) -> Iterator[Place]:
    data, reading = path.read_bytes(), reading_of(path.name)
    if isinstance(reading, ImageFormat):
        for entry in read_entries(BytesIO(data), len(data), path.name, reading):
            place = Place(path, data, entry.end - 4 - entry.message.ByteSize(), entry.end, entry.message)
            assert data[place.start : place.end] == framed(entry.message)
            yield place


@cache
def places_of(name: str) -> list[Place]:
    return [place for path in sorted((live.IMAGES / name).glob("*.img")) for place in places_in(path)]


def framed(message: Message) -> bytes:
    data = message.SerializePartialToString()
    return struct.pack("=I", len(data)) + data


def fields_in(message: Message) -> Iterator[tuple[Message, str]]:
    """Yield every field that is set, those of nested messages too."""
    for field, value in message.ListFields():
        yield message, field.name
        nested = value if field.message_type is not None else ()
        for item in nested if not isinstance(nested, Message) else (nested,):
            yield from fields_in(item)


def change(message: Message, number: int, value: int) -> None:
    """Give one field another value, or none."""
    found = list(fields_in(message))
    if not found:
        return
    owner, name = found[number % len(found)]
    old = getattr(owner, name)
    if isinstance(old, bytes):
        setattr(owner, name, TEXTS[value % len(TEXTS)])
    elif isinstance(old, int) and value % 5:
        with suppress(ValueError):
            setattr(owner, name, type(old)(NUMBERS[value % len(NUMBERS)]))
    else:
        owner.ClearField(name)


def show(directory: Path) -> None:
    dump = read_dump(directory)
    inventory = take_inventory(dump)
    assert render(dump, inventory)
    assert render_tree(dump, inventory)
    check("show", render_json(dump, inventory))
    check("show-tree", render_tree_json(dump, inventory))
    assert list(dot_lines(take_graph(dump)))


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    base = tmp_path_factory.mktemp("copies")
    for name in live.NAMES:
        (base / name).mkdir()
        for path in (live.IMAGES / name).glob("*.img"):
            shutil.copyfile(path, base / name / path.name)
    return base


@pytest.mark.parametrize("name", live.NAMES)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_one_entry_is_changed_doubled_or_dropped(copies, name, data):
    places = places_of(name)
    place = places[data.draw(st.integers(0, len(places) - 1))]
    match data.draw(st.sampled_from(["change", "change", "change", "double", "drop"])):
        case "double":
            new = place.replaced(place.data[place.start : place.end] * 2)
        case "drop":
            new = place.replaced(b"")
        case _:
            message = type(place.message)()
            message.CopyFrom(place.message)
            change(message, data.draw(st.integers(0, 10_000)), data.draw(st.integers(0, 10_000)))
            new = place.replaced(framed(message))
    image = copies / name / place.path.name
    image.write_bytes(new)
    try:
        with suppress(CriuImagesError):
            show(copies / name)
    finally:
        image.write_bytes(place.data)


@pytest.mark.parametrize("name", live.NAMES)
@settings(deadline=None, max_examples=5)
@given(number=st.integers(0, 1000))
def test_one_image_is_gone(copies, name, number):
    images = sorted((copies / name).iterdir())
    image = images[number % len(images)]
    hidden = image.with_suffix(".hidden")
    image.rename(hidden)
    try:
        with suppress(CriuImagesError):
            show(copies / name)
    finally:
        hidden.rename(image)
