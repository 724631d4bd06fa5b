from __future__ import annotations

import struct
import sys
from io import BytesIO
from pathlib import Path

import pytest

from llmux.criu_images import _wire
from llmux.criu_images._entry import Entry
from llmux.criu_images._formats import FILES, GHOST_FILE, IPCNS_MSG, IPCNS_SHM, SK_QUEUES, ImageFormat
from llmux.criu_images._wire import load_schema, read_entries
from llmux.criu_images.errors import DamagedImage, PycriuIncompatible, PycriuMissing


def read(path: Path, image_format: ImageFormat = FILES) -> list[Entry]:
    with path.open("rb") as stream:
        return list(read_entries(stream, path.stat().st_size, path.name, image_format))


def test_yields_each_entry_with_its_number(maker):
    entries = read(maker.files(maker.reg(1, "/a"), maker.reg(2, "/b")))
    assert [(entry.index, entry.nested("reg").raw("name")) for entry in entries] == [(0, b"/a"), (1, b"/b")]


def test_a_path_that_is_not_utf8_keeps_its_bytes(maker):
    path = maker.files(maker.reg(1, "/tmp/XXXX"))
    path.write_bytes(path.read_bytes().replace(b"XXXX", b"\xff\xfe\nY"))
    assert read(path)[0].nested("reg").raw("name") == b"/tmp/\xff\xfe\nY"


def test_a_number_that_an_enum_does_not_know_is_kept(maker):
    path = maker.files({"type": 1, "id": 5})
    path.write_bytes(path.read_bytes().replace(b"\x08\x01\x10\x05", b"\x08\x63\x10\x05"))
    assert read(path)[0].number("type") == 0x63


def test_an_absent_field_and_one_that_pycriu_does_not_know_are_both_unset(maker):
    entry = read(maker.files(maker.reg(1, "/a")))[0].nested("reg")
    assert entry.maybe_number("size") is None
    assert entry.maybe_number("of_another_release") is None


def test_cut_anywhere_it_is_damaged_or_ends_between_entries(maker):
    path = maker.files(maker.reg(1, "/a"), maker.reg(2, "/b"))
    whole = path.read_bytes()
    first = read(path)[0].end
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length in {8, first}:
            assert len(read(path)) == (length == first)
            continue
        with pytest.raises(DamagedImage) as caught:
            read(path)
        assert caught.value.image == "files.img"
        assert caught.value.offset is not None
        assert caught.value.offset <= length


def test_another_images_magic_is_named(maker):
    with pytest.raises(DamagedImage, match="not a SK_QUEUES image: it is FILES"):
        read(maker.files(), SK_QUEUES)


@pytest.mark.demand("damaged")
@pytest.mark.parametrize("words", [1, 2])
def test_another_byte_order_is_named(maker, words):
    path = maker.files(maker.reg(1, "/a"))
    data = bytearray(path.read_bytes())
    for at in range(0, words * 4, 4):
        data[at : at + 4] = data[at : at + 4][::-1]
    path.write_bytes(data)
    with pytest.raises(
        DamagedImage, match=r"files\.img, byte \d: .*written on a machine of the other byte order"
    ):
        read(path)


@pytest.mark.demand("damaged")
@pytest.mark.parametrize(
    ("count", "size", "why"),
    [
        (2, 8, "entry 0, byte 50: cut short in an entry's length"),
        (0xFFFFFFFF, 8, "cut short in an entry's length"),
        (1, 9, "a payload of 16 bytes where 8 are left"),
        (1, 0xFFFFFFFF, "a payload of 4294967296 bytes where 8 are left"),
    ],
)
def test_the_messages_of_a_queue_that_lies(maker, count, size, why):
    path = queue(maker, count, size, b"12345678")
    with pytest.raises(DamagedImage, match=why.replace("50", r"\d+")):
        read(path, IPCNS_MSG)


def test_the_messages_of_a_queue_are_skipped(maker):
    assert [entry.number("qnum") for entry in read(queue(maker, 1, 5, b"12345678"), IPCNS_MSG)] == [1]


def queue(maker, count: int, size: int, payload: bytes) -> Path:
    """Write a System V queue of one message, whatever its numbers claim."""
    description = dict.fromkeys(("key", "uid", "gid", "cuid", "cgid", "mode", "id"), 1)
    maker.image("part", "IPCNS_MSG", "ipc_msg", {"mtype": 1, "msize": size}, payload=payload)
    about = {"desc": description, "qbytes": 9, "qnum": count}
    path = maker.image("ipcns-msg-9.img", "IPCNS_MSG", "ipc_msg_entry", about)
    path.write_bytes(path.read_bytes() + (maker.directory / "part").read_bytes()[8:])
    return path


def test_no_magic_at_all(tmp_path):
    path = tmp_path / "files.img"
    path.write_bytes(b"#!/bin/sh\n")
    with pytest.raises(DamagedImage, match="its magic number is 0x"):
        read(path)


@pytest.mark.parametrize("length", [1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_length_beyond_the_file_is_refused(maker, length):
    path = maker.files()
    path.write_bytes(path.read_bytes() + struct.pack("=I", length))
    with pytest.raises(DamagedImage, match=f"entry 0, byte 12: an entry of {length} bytes where 0 are left"):
        read(path)


def test_an_entry_too_great_to_be_one_is_not_read(maker):
    path = maker.files()
    path.write_bytes(path.read_bytes() + struct.pack("=I", _wire.MAX_ENTRY + 1))
    with path.open("r+b") as image:
        image.truncate(1 << 40)
    with pytest.raises(DamagedImage, match="the greatest that can be"):
        read(path)


def test_more_entries_than_there_can_be(maker, monkeypatch):
    monkeypatch.setattr(_wire, "MAX_ENTRIES", 2)
    with pytest.raises(DamagedImage, match="more than 2 entries"):
        read(maker.files(*(maker.reg(number, "/a") for number in range(3))))


def test_bytes_that_are_no_message(maker):
    path = maker.files()
    path.write_bytes(path.read_bytes() + struct.pack("=I", 3) + b"\xff\xff\xff")
    with pytest.raises(DamagedImage, match="not a file_entry"):
        read(path)


def test_payloads_are_skipped(maker):
    packet = {"id_for": 3, "length": 5}
    path = maker.image("sk-queues.img", "SK_QUEUES", "sk_packet_entry", packet, packet, payload=b"hello")
    assert [entry.number("length") for entry in read(path, SK_QUEUES)] == [5, 5]


def test_a_payload_beyond_the_file_is_refused(maker):
    path = maker.image("sk-queues.img", "SK_QUEUES", "sk_packet_entry", {"id_for": 3, "length": 0xFFFFFFFF})
    with pytest.raises(DamagedImage, match="a payload of 4294967295 bytes where 0 are left"):
        read(path, SK_QUEUES)


@pytest.mark.parametrize(("in_pagemaps", "payload"), [(True, b""), (False, b"12345678")])
def test_a_system_v_segment_is_padded_to_whole_words(maker, in_pagemaps, payload):
    description = dict.fromkeys(("key", "uid", "gid", "cuid", "cgid", "mode", "id"), 1)
    segment = {"desc": description, "size": 5, "in_pagemaps": in_pagemaps}
    path = maker.image("ipcns-shm-9.img", "IPCNS_SHM", "ipc_shm_entry", segment, segment, payload=payload)
    assert len(read(path, IPCNS_SHM)) == 2


def test_what_follows_a_ghost_is_not_read(maker):
    maker.ghost(1, b"\xff" * 100)
    entry = read(maker.directory / "ghost-file-1.img", GHOST_FILE)[0]
    assert maker.directory.joinpath("ghost-file-1.img").stat().st_size - entry.end == 100


def test_a_file_that_shrinks_while_it_is_read(maker):
    whole = maker.files(maker.reg(1, "/a")).read_bytes()
    with pytest.raises(DamagedImage, match="cut short in an entry"):
        list(read_entries(BytesIO(whole[:-3]), len(whole), "files.img", FILES))


@pytest.fixture
def without_pycriu(monkeypatch, tmp_path):
    """Hide pycriu: forget it, and leave only Python's own library on the path."""
    home = Path(load_schema().origin).parents[1]
    for name in [name for name in sys.modules if name.partition(".")[0] == "pycriu"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(
        sys, "path", [place for place in sys.path if not Path(place or ".", "pycriu").exists()]
    )
    monkeypatch.setattr(_wire, "DEBIAN_PACKAGES", str(tmp_path / "nowhere"))
    return home


def load_anew() -> _wire.Schema:
    return load_schema.__wrapped__()


def test_without_pycriu_the_error_names_the_package(without_pycriu):
    with pytest.raises(PycriuMissing, match="install python3-pycriu"):
        load_anew()


def test_pycriu_is_found_where_debian_puts_it_and_nothing_else_with_it(without_pycriu, monkeypatch):
    monkeypatch.setattr(_wire, "DEBIAN_PACKAGES", str(without_pycriu))
    before = list(sys.path)
    schema = load_anew()
    assert schema.message("file_entry").DESCRIPTOR.name == "file_entry"
    assert sys.path == before


def broken_pycriu(place: Path, images: str, messages: str = "") -> str:
    package = place / "pycriu"
    (package / "images").mkdir(parents=True)
    package.joinpath("__init__.py").write_text("")
    package.joinpath("images", "__init__.py").write_text(images)
    package.joinpath("images", "magic.py").write_text("by_name = {}; by_val = {}")
    package.joinpath("images", "pb.py").write_text(messages)
    return str(place)


def test_a_pycriu_that_fails_to_import_is_an_error_of_its_own(without_pycriu, monkeypatch, tmp_path):
    monkeypatch.setattr(
        _wire, "DEBIAN_PACKAGES", broken_pycriu(tmp_path / "broken", "raise TypeError('too new')")
    )
    with pytest.raises(PycriuIncompatible, match="TypeError: too new"):
        load_anew()


def test_a_pycriu_without_a_message_is_an_error_of_its_own(without_pycriu, monkeypatch, tmp_path):
    monkeypatch.setattr(_wire, "DEBIAN_PACKAGES", broken_pycriu(tmp_path / "old", ""))
    with pytest.raises(PycriuIncompatible, match="it has no file_entry"):
        load_anew().message("file_entry")
