from __future__ import annotations

import tarfile
import tracemalloc
from dataclasses import replace

import pytest

from llmux.criu_images import _archive
from llmux.criu_images._archive import ArchiveSource
from llmux.criu_images._dump import read_dump
from llmux.criu_images._records import ParentImages
from llmux.criu_images._stats import read_stats
from llmux.criu_images._verify import read_manifest
from llmux.criu_images.errors import ArchiveRefused, CriuImagesError, DamagedImage, ManifestMissing, NotADump

from . import live
from .archives import PACKERS, archive, header, images_of, member, podman_export

pytestmark = pytest.mark.demand("archive")


@pytest.fixture
def packed(maker, tmp_path_factory):
    """Return a function that packs members into a file, by default with a whole dump before them."""
    maker.busy()
    path = tmp_path_factory.mktemp("archive") / "checkpoint.tar"

    def pack(*members, images=True):
        path.write_bytes(archive([*(images_of(maker.directory) if images else ()), *members]))
        return path

    return pack


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", live.NAMES)
def test_every_fixture_reads_as_its_directory(name, packer, tmp_path):
    path = tmp_path / "checkpoint.tar"
    path.write_bytes(PACKERS[packer](podman_export(live.IMAGES / name)))
    assert read_dump(path) == live.dump_of(name)
    assert read_manifest(path) == live.manifest_of(name)


@pytest.mark.parametrize("folder", ["", "./", "checkpoint/", "./checkpoint/"])
def test_where_the_images_may_be(maker, folder, tmp_path_factory):
    maker.busy()
    path = tmp_path_factory.mktemp("archive") / "images.tar"
    path.write_bytes(archive([member("./", kind=tarfile.DIRTYPE), *images_of(maker.directory, folder)]))
    assert read_dump(path) == read_dump(maker.directory)


def test_statistics_are_beside_the_images_and_sizes_are_those_of_the_images(packed, maker):
    times = ("freezing_time", "frozen_time", "memdump_time", "memwrite_time")
    pages = ("pages_scanned", "pages_skipped_parent", "pages_written", "pages_lazy")
    numbers = dict.fromkeys((*times, *pages), 5)
    maker.busy()
    maker.image("stats-dump", "STATS", "stats_entry", {"dump": numbers})
    (maker.directory / "pages-1.img").write_bytes(bytes(9000))
    path = packed()
    assert read_stats(path) == read_stats(maker.directory)
    path.write_bytes(podman_export(maker.directory))
    assert read_stats(path) == read_stats(maker.directory)


def test_payloads_and_pages_are_not_kept(packed, maker):
    packed()
    payload = bytes(1 << 20)
    maker.image(
        "sk-queues.img",
        "SK_QUEUES",
        "sk_packet_entry",
        *[{"id_for": 7, "length": 1 << 20}] * 3,
        payload=payload,
    )
    (maker.directory / "pages-1.img").write_bytes(payload * 4)
    maker.remaps({"orig_id": 4, "remap_id": 26, "remap_type": 1})
    maker.ghost(26, payload)
    path = packed()
    ArchiveSource(str(path))
    tracemalloc.start()
    dump = read_dump(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dump == read_dump(maker.directory)
    assert dump.ghosts[26].size == 1 << 20
    assert [packet.length for packet in dump.packets] == [1 << 20] * 3
    assert peak < 1 << 20


def test_a_link_to_an_earlier_dump_is_told_and_not_followed(packed, maker):
    path = packed(member("checkpoint/parent", kind=tarfile.SYMTYPE, linkname="../pre-checkpoint"))
    problem = "it is not looked for outside the archive"
    assert read_dump(path).parents == (ParentImages(b"../pre-checkpoint", b"../pre-checkpoint", problem),)
    assert replace(read_dump(path), parents=()) == read_dump(maker.directory)


def test_an_image_of_an_unknown_name_is_reported(packed):
    path = packed(member("checkpoint/novel.img", bytes(99)), member("checkpoint/short.img", b"x"))
    assert [item.image for item in read_dump(path).unknown] == ["novel.img", "short.img"]


def test_without_a_manifest(packed):
    with pytest.raises(ManifestMissing):
        read_manifest(packed())


def test_an_archive_of_something_else(packed):
    with pytest.raises(NotADump, match=r"it has no inventory\.img"):
        read_dump(packed(member("etc/passwd", b"root"), images=False))


def test_damage_inside_an_image_is_named_as_in_a_directory(packed, maker):
    maker.busy()
    path = maker.directory / "files.img"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DamagedImage, match=r"files\.img, entry"):
        read_dump(packed())


IMAGE = "checkpoint/files.img"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (member("/etc/passwd"), "member /etc/passwd: a name that leads out of the archive"),
        (member("checkpoint/../../x"), r"member checkpoint/\.\./\.\./x: a name that leads out"),
        (member("a/.."), "a name that leads out"),
        (member(IMAGE), f"member {IMAGE}: an image that is in the archive twice"),
        (member("./checkpoint//files.img"), "an image that is in the archive twice"),
        (member("inventory.img"), "member checkpoint: a dump at the top and another"),
        (member("checkpoint/a.img", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "no regular file"),
        (member("checkpoint/a.img", kind=tarfile.LNKTYPE, linkname=IMAGE), "no regular file"),
        (member("checkpoint/a.img", kind=tarfile.CHRTYPE), "no regular file"),
        (member("checkpoint/a.img", kind=tarfile.FIFOTYPE), "no regular file"),
        (member("checkpoint/a.img", kind=tarfile.DIRTYPE), "no regular file"),
    ],
)
def test_hostile_members_are_refused(packed, bad, why):
    with pytest.raises(ArchiveRefused, match=why):
        read_dump(packed(bad))


def test_an_image_stored_with_holes_is_refused_but_for_pages(packed):
    def holes(name):
        info, data = member(name, b"1\n0\n5\n".ljust(517, b"\0"))
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name}
        return info, data

    assert read_dump(packed(holes("checkpoint/pages-1.img"))).root_task == 7
    with pytest.raises(
        ArchiveRefused, match=r"memfd\.img: an image stored with holes: pack without --sparse"
    ):
        read_dump(packed(holes("checkpoint/memfd.img")))


def test_what_is_kept_is_bounded(packed, monkeypatch):
    path = packed(member("checkpoint/llmux-manifest.json", bytes(5000)))
    monkeypatch.setattr(_archive, "MAX_KEPT", 10_000)
    with pytest.raises(ArchiveRefused, match="more than 10000 bytes of entries to keep"):
        read_dump(path)


def test_a_name_of_a_megabyte_is_not_kept_nor_printed_whole(packed, monkeypatch):
    monkeypatch.setattr(_archive, "MAX_KEPT", 100_000)
    with pytest.raises(ArchiveRefused) as caught:
        read_dump(packed(member("checkpoint/" + "x" * 900_000 + ".img")))
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize("claimed", [1, 300, 1 << 33])
def test_a_size_that_lies(packed, claimed):
    path = packed()
    whole = path.read_bytes()
    at = whole.index(b"checkpoint/files.img")
    path.write_bytes(whole[:at] + header(IMAGE, claimed) + whole[at + 512 :])
    with pytest.raises(CriuImagesError):
        read_dump(path)


def test_nothing_is_written(packed, tmp_path_factory, monkeypatch):
    path = packed()
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(empty)
    monkeypatch.setenv("TMPDIR", str(empty))
    read_dump(path)
    assert (list(empty.iterdir()), list(path.parent.iterdir())) == ([], [path])
