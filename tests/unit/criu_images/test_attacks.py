"""A checkpoint of somebody's who wants root to read, wait, write or delete where it should not; and one that changes under our hands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from manifests import directory_entry, fifo_entry, file_entry, manifest, symlink_entry

from llmux.criu_images import Phase, Progress, _observe, capture, plan, read_manifest, rebuild, verify
from llmux.criu_images._digest import Algorithm, digest_file
from llmux.criu_images.errors import (
    CaptureFailed,
    CriuImagesError,
    ExitCode,
    ImagesDiffer,
    ManifestInvalid,
    ManifestMissing,
    RebuildRefused,
    SideFileDiffers,
)
from llmux.criu_images.manifest import MANIFEST_NAME, Manifest, seal_of

OUTSIDE = (
    "/../outside",
    "/tmp/../../outside",
    "outside",
    "../outside",
    "/./outside",
    "//outside",
    "/tmp//outside",
    "/outside/",
    "/tmp/\\x00/outside",
    "",
)


class Place:
    """A checkpoint `images` with one file `content`, and an empty root `here` to rebuild in."""

    def __init__(self, base: Path) -> None:
        self.base, self.images, self.here = base, base / "images", base / "here"
        for directory in (self.images, self.images / "llmux", self.here):
            directory.mkdir()
        self.journal = base / "journals/j"
        (self.images / "llmux/0").write_bytes(b"content")
        with (self.images / "llmux/0").open("rb") as file:
            self.digest = digest_file(file.fileno(), 7, Algorithm.WHOLE)

    def file(self, name: str, carried: str = "0"):
        return file_entry(name, size=7, demanded_size=7, digest=self.digest, carried=carried)

    def write(self, made: Manifest) -> None:
        (self.images / MANIFEST_NAME).write_bytes(made.to_json())

    def forge(self, section: str, name: str, value: object) -> None:
        """Change the first entry of a section, and seal it anew as an attacker would."""
        content = json.loads((self.images / MANIFEST_NAME).read_bytes())
        content[section][0][name] = value
        content["seal"] = seal_of(content)
        (self.images / MANIFEST_NAME).write_text(json.dumps(content))

    def rebuild(self, progress=lambda _: None):
        return rebuild(self.images, root=self.here, journal=self.journal, progress=progress)

    def plan(self):
        return plan(self.images, root=self.here, journal=self.journal)

    def made(self) -> list[Path]:
        return sorted(path for path in self.base.rglob("*") if self.images not in path.parents)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.demand("outside-path")
@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize(
    ("section", "field"),
    [("files", "names"), ("directories", "path"), ("fifos", "path"), ("symlinks", "path")],
)
def test_a_manifest_that_names_a_path_outside_is_no_manifest(place, section, field, path):
    entries = {
        "files": place.file("/f"),
        "directories": directory_entry("/d"),
        "fifos": fifo_entry("/p"),
        "symlinks": symlink_entry("/l"),
    }
    place.write(manifest(**{name: (entry,) for name, entry in entries.items()}))
    before = place.made()
    place.forge(section, field, [path] if field == "names" else path)
    for act in (place.plan, place.rebuild, lambda: verify(place.images)):
        with pytest.raises(ManifestInvalid, match=rf"{section}\.0\.{field}") as raised:
            act()
        assert raised.value.exit_code is ExitCode.DAMAGED
    assert place.made() == before


@pytest.mark.demand("outside-path")
@pytest.mark.parametrize("name", ["../passwd", "/etc/passwd", "0/../../x", "", "manifest", "0\n"])
def test_a_copys_name_is_a_number(place, name):
    place.write(manifest(files=(place.file("/f"),)))
    place.forge("files", "carried", name)
    with pytest.raises(ManifestInvalid, match=r"files\.0\.carried"):
        place.rebuild()


@pytest.mark.demand("outside-path")
@pytest.mark.parametrize("target", ["/outside", "../outside", "../../../../outside"])
def test_a_link_of_the_manifests_own_leads_nowhere_but_below_the_root(place, target):
    """It may name a link to anywhere and a file behind it: both are made, below the root."""
    (place.base / "outside").mkdir()
    link = symlink_entry("/l").model_copy(update={"target": target.encode()})
    place.write(
        manifest(
            directories=(directory_entry("/"), directory_entry("/outside")),
            symlinks=(link,),
            files=(place.file("/l/f"),),
        )
    )
    place.rebuild()
    assert (place.here / "outside/f").read_bytes() == b"content"
    assert not list((place.base / "outside").iterdir())


@pytest.mark.demand("outside-path")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_link_of_another_user_on_the_way_is_a_conflict(place):
    (place.here / "etc").mkdir()
    (place.here / "l").symlink_to("etc")
    os.lchown(place.here / "l", 1000, 1000)
    place.write(manifest(files=(place.file("/l/passwd"),)))
    with pytest.raises(RebuildRefused, match="/l/passwd: cannot be reached"):
        place.rebuild()
    assert not list((place.here / "etc").iterdir())


def link_directory(place: Place) -> None:
    (place.images / "llmux").rename(place.base / "copies")
    (place.images / "llmux").symlink_to(place.base / "copies")


def fifo_directory(place: Place) -> None:
    (place.images / "llmux/0").unlink()
    (place.images / "llmux").rmdir()
    os.mkfifo(place.images / "llmux")


def link_file(place: Place) -> None:
    (place.images / "llmux/0").rename(place.base / "copy")
    (place.images / "llmux/0").symlink_to(place.base / "copy")


def fifo_file(place: Place) -> None:
    (place.images / "llmux/0").unlink()
    os.mkfifo(place.images / "llmux/0")


@pytest.mark.demand("changing-checkpoint")
@pytest.mark.parametrize("swap", [link_directory, fifo_directory, link_file, fifo_file])
def test_copies_are_read_from_their_own_place_and_nothing_is_waited_for(place, swap):
    place.write(manifest(files=(place.file("/f"),)))
    swap(place)
    for act in (place.rebuild, lambda: verify(place.images)):
        with pytest.raises(SideFileDiffers, match="llmux/") as raised:
            act()
        assert raised.value.exit_code is ExitCode.DAMAGED
    assert not list(place.here.iterdir())


@pytest.mark.demand("changing-checkpoint")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/shadow"), os.mkdir])
def test_a_manifest_is_a_file_of_its_own(place, make):
    make(place.images / MANIFEST_NAME)
    with pytest.raises(ManifestInvalid):
        read_manifest(place.images)


@pytest.mark.demand("changing-checkpoint")
def test_a_copy_that_is_swapped_while_files_are_placed_undoes_all(place):
    (place.images / "llmux/1").write_bytes(b"content")
    place.write(manifest(files=(place.file("/first"), place.file("/second", "1"))))

    def swap(progress: Progress) -> None:
        if progress.phase is Phase.PLACE and progress.path == b"/second":
            (place.images / "llmux/1").write_bytes(b"another")

    with pytest.raises(SideFileDiffers, match="llmux/1"):
        place.rebuild(swap)
    assert not list(place.here.iterdir())
    assert not place.journal.exists()


@pytest.mark.demand("changing-checkpoint")
def test_an_image_that_is_swapped_after_its_check_undoes_all(place, maker, monkeypatch):
    monkeypatch.setattr(_observe, "read_ids", lambda _: {})
    maker.directory = place.images
    maker.whole()
    capture(place.images, container_started_ns=0)

    def swap(progress: Progress) -> None:
        if progress.phase is Phase.PLACE:
            maker.files(maker.reg(1, "/elsewhere"))

    with pytest.raises(ImagesDiffer, match=r"files\.img: somebody changed it after it was checked"):
        place.rebuild(swap)
    assert not list(place.here.iterdir())


@pytest.mark.demand("changing-checkpoint")
@pytest.mark.parametrize("phase", [Phase.CARRY, Phase.DIGEST_IMAGES])
def test_an_image_that_changes_during_the_capture_fails_it(place, maker, phase):
    maker.directory = place.images
    maker.whole()

    def swap(progress: Progress) -> None:
        if progress.phase is phase:
            maker.files(maker.reg(1, "/elsewhere"))

    with pytest.raises(CaptureFailed, match=r"files\.img: somebody changed this image"):
        capture(place.images, container_started_ns=0, progress=swap)
    with pytest.raises(ManifestMissing):
        read_manifest(place.images)
    assert not list((place.images / "llmux").iterdir())


@pytest.mark.demand("changing-checkpoint")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("core-7.img"), os.mkdir])
def test_an_image_is_a_file_of_its_own(place, maker, make):
    maker.directory = place.images
    maker.whole()
    make(place.images / "pages-9.img")
    with pytest.raises(CriuImagesError, match=r"pages-9\.img"):
        capture(place.images, container_started_ns=0)
    with pytest.raises(ManifestMissing):
        read_manifest(place.images)


def test_what_lies_beside_the_copies_is_not_ours_to_remove(place, maker):
    """Someone dumps into a directory that has an `llmux/` of his own."""
    maker.directory = place.images
    maker.whole()
    (place.images / "llmux/__init__.py").write_text("theirs")
    (place.images / "llmux/server").mkdir()
    capture(place.images, container_started_ns=0)
    capture(place.images, container_started_ns=0, again=True)
    assert (place.images / "llmux/__init__.py").read_text() == "theirs"
    verify(place.images)


@pytest.mark.demand("changing-checkpoint")
@pytest.mark.parametrize("name", ["", "llmux", "llmux/0", MANIFEST_NAME, "core-7.img"])
def test_nothing_that_every_user_may_change_is_rebuilt_from(place, maker, monkeypatch, name):
    monkeypatch.setattr(_observe, "read_ids", lambda _: {})
    maker.directory = place.images
    maker.whole()
    capture(place.images, container_started_ns=0)
    os.chmod(place.images / name, 0o777 if (place.images / name).is_dir() else 0o666)  # noqa: PTH101 - one call for both
    with pytest.raises(RebuildRefused, match="every user may write to the checkpoint"):
        place.rebuild()
    assert not list(place.here.iterdir())
