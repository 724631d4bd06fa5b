"""Real images, damaged: cut short, with another magic number, with lengths that lie, with paths that lead astray."""

from __future__ import annotations

import re
import shutil
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from llmux.criu_images._capture import capture
from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report import render
from llmux.criu_images.errors import CriuImagesError, DamagedImage, NotADump

from . import live
from .shown import render_json

# Between them, these have every image that is read; the fewest bytes first.
SUBJECTS = ["unix_rights", "fifos", "locks", "sysv", "link_remap", "inet", "memfds", "ghosts"]
# Entries alone, no payload between them: a cut anywhere but between two entries must be noticed.
PLAIN = (
    "inventory",
    "pstree",
    "core",
    "ids",
    "mm",
    "fs",
    "fdinfo",
    "files",
    "remap-fpath",
    "memfd",
    "filelocks",
)
READ = (*PLAIN, "sk-queues", "pipes-data", "fifo-data", "ghost-file", "tcp-stream", "ipcns-shm")
# inventory.img has no common magic before its own.
HEADER = {"inventory": 4}


@pytest.fixture(params=SUBJECTS)
def images(request, tmp_path) -> Path:
    for path in (live.IMAGES / request.param).glob("*.img"):
        shutil.copyfile(path, tmp_path / path.name)
    read_dump(tmp_path)
    return tmp_path


def kind(path: Path) -> str:
    """Cut the number off an image's name."""
    return re.sub(r"-[0-9a-f]+\Z", "", path.stem)


def read_images(directory: Path) -> list[Path]:
    """List the images that matter here; some hold what needs nothing of a container (timens, signals, threads, ...)."""
    unread = {f"core-{thread}.img" for task in read_dump(directory).tasks for thread in task.threads[1:]}
    return [path for path in sorted(directory.iterdir()) if kind(path) in READ and path.name not in unread]


def read(directory: Path) -> None:
    """Read all there is to read."""
    dump = read_dump(directory)
    inventory = take_inventory(dump)
    render(dump, inventory)
    render_json(dump, inventory)


def borders(data: bytes, header: int) -> set[int]:
    """Find where a plain image may end: after its header and after each entry."""
    found, at = {header}, header
    while at < len(data):
        at += 4 + struct.unpack_from("=I", data, at)[0]
        found.add(at)
    return found


def failure(directory: Path) -> CriuImagesError | None:
    try:
        read(directory)
    except CriuImagesError as error:
        return error
    return None


def damage(path: Path, data: bytes) -> CriuImagesError | None:
    """Read the dump with other bytes in one image, which is then put right again."""
    whole = path.read_bytes()
    path.write_bytes(data)
    error = failure(path.parent)
    path.write_bytes(whole)
    return error


def sampled(size: int) -> set[int]:
    """Choose lengths below `size`: each of the first, where magic numbers and lengths are, and some after."""
    return {*range(min(size, 20)), *range(20, size, max(13, size // 12))}


@pytest.mark.demand("damaged")
def test_cut_short(images):
    for path in read_images(images):
        data = path.read_bytes()
        plain = kind(path) in PLAIN
        may_end = borders(data, HEADER.get(path.stem, 8)) if plain else set()
        for length in sorted({*sampled(len(data)), *may_end} - {len(data)}):
            error = damage(path, data[:length])
            if plain and length not in may_end:
                assert isinstance(error, DamagedImage), (path.name, length)
                assert error.image == path.name


@pytest.mark.demand("damaged")
def test_another_magic_number(images):
    for path in read_images(images):
        data = path.read_bytes()
        at = HEADER.get(path.stem, 8) - 4
        for magic in (0, 0xFFFFFFFF, struct.unpack_from("=I", data, at)[0] ^ 1, 0x58313116):
            changed = data[:at] + struct.pack("=I", magic) + data[at + 4 :]
            if changed != data:
                error = damage(path, changed)
                assert isinstance(error, DamagedImage)
                assert error.image == path.name


@pytest.mark.demand("damaged")
def test_lying_lengths(images):
    for path in read_images(images):
        data, at = path.read_bytes(), HEADER.get(path.stem, 8)
        if len(data) == at:
            continue
        true_length = struct.unpack_from("=I", data, at)[0]
        for length in (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, len(data) - at - 3):
            error = damage(path, data[:at] + struct.pack("=I", length) + data[at + 4 :])
            assert isinstance(error, DamagedImage)
            assert error.image == path.name
        for length in (0, true_length - 1, true_length + 1):
            damage(path, data[:at] + struct.pack("=I", length) + data[at + 4 :])


def test_a_missing_image(images):
    for path in sorted(images.iterdir()):
        data = path.read_bytes()
        path.unlink()
        error = failure(images)
        assert error is None or (isinstance(error, (NotADump, DamagedImage)) and path.stem in str(error))
        path.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    [
        b"srv/fixture/data1",
        b"/srv/fix\0ure/data",
        b"/srv/../etc/passw",
        b"/srv/./ixture/dat",
        b"/../../../../../d",
    ],
)
def test_paths_that_lead_astray_are_refused(name, tmp_path):
    for path in (live.IMAGES / "mappings").glob("*.img"):
        shutil.copyfile(path, tmp_path / path.name)
    files = tmp_path / "files.img"
    true = files.read_bytes()
    assert b"/srv/fixture/data" in true
    files.write_bytes(true.replace(b"/srv/fixture/data", name))
    with pytest.raises(DamagedImage) as caught:
        read_dump(tmp_path)
    assert (caught.value.image, caught.value.field) == ("files.img", "reg.name")


@pytest.mark.parametrize(
    "name", [b"/../../../../../x.sock", b"/srv/..//..///x.sock/", b"/srv/fixture/gone.sock"]
)
def test_a_socket_name_never_leads_a_capture_out_of_its_root(name, tmp_path):
    """A socket may well be bound at such a name; what it means is looked up below the root."""
    images, root = tmp_path / "images", tmp_path / "root"
    images.mkdir()
    root.mkdir()
    for path in (live.IMAGES / "unix_seqpacket").glob("*.img"):
        data = path.read_bytes().replace(b"/srv/fixture/packets.sock", name.ljust(25, b"x"))
        (images / path.name).write_bytes(data)
    with suppress(CriuImagesError):
        capture(images, root=root)
    assert list(root.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "root"]
