"""What is built is what was captured: content, holes, links, long paths, flags; the laws over random trees are in tests/property."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from worlds import everything, regular

from llmux.criu_images._inventory import PathKind
from llmux.criu_images._linux import APPEND_ONLY, IMMUTABLE
from llmux.criu_images._metadata import apply_flags, clear_flags
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import SideFileDiffers


def test_a_log_comes_back_to_its_recorded_length(world):
    (world.there / "app.log").write_text("recorded and grown")
    world.capture(regular("/app.log", 8))
    world.rebuild()
    assert (world.here / "app.log").read_text() == "recorded"


@pytest.mark.demand("link-remap-device")
def test_a_link_remap_comes_back_with_its_group(world):
    shm = world.there / "shm"
    shm.mkdir()
    (shm / "sem.mp-1").write_text("semaphore")
    (shm / "link_remap.7").hardlink_to(shm / "sem.mp-1")
    manifest = world.capture(regular("/shm/link_remap.7", 9, kind=PathKind.LINK_REMAP))
    assert manifest.files[0].names == (b"/shm/link_remap.7", b"/shm/sem.mp-1")
    assert manifest.files[0].consumed == (b"/shm/link_remap.7",)
    world.rebuild()
    assert (world.here / "shm/link_remap.7").samefile(world.here / "shm/sem.mp-1")
    (world.here / "shm/link_remap.7").unlink()  # as a restore does
    world.rebuild()
    assert (world.here / "shm/link_remap.7").samefile(world.here / "shm/sem.mp-1")


@pytest.mark.demand("hard-links")
def test_hard_links_in_directories_that_the_dump_does_not_name_are_joined(world):
    for directory in ("a", "b/deep", "c"):
        (world.there / directory).mkdir(parents=True)
    (world.there / "b").chmod(0o2750)
    (world.there / "a/one").write_text("x")
    (world.there / "b/deep/two").hardlink_to(world.there / "a/one")
    manifest = world.capture(regular("/a/one", 1))
    assert manifest.warnings == ()
    assert manifest.files[0].names == (b"/a/one", b"/b/deep/two")
    world.rebuild()
    assert (world.here / "a/one").samefile(world.here / "b/deep/two")
    assert stat.S_IMODE((world.here / "b").stat().st_mode) == 0o2750
    assert not (world.here / "c").exists()
    assert world.plan().actions == ()


@pytest.mark.demand("odd-names")
@pytest.mark.parametrize("length", [4095, 9000])
def test_a_path_as_long_as_the_kernel_tells_and_longer(world, length):
    """CRIU takes names from the kernel, up to 4095 bytes; a socket's relative name below such a directory is longer."""
    path = long_path(length)
    with descended(world.there, path, make=True) as (directory, name):
        fd = os.open(name, os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=directory)
        os.write(fd, b"deep")
        os.close(fd)
    world.capture(regular(path, 4))
    world.rebuild()
    with descended(world.here, path) as (directory, name):
        fd = os.open(name, os.O_RDONLY, dir_fd=directory)
        assert (os.read(fd, 9), stat.S_IMODE(os.fstat(fd).st_mode)) == (b"deep", 0o640)
        os.close(fd)
    assert world.plan().actions == ()
    assert world.undo().left == []
    assert os.listdir(world.here) == []  # noqa: PTH208 - nothing that would walk on


def long_path(length: int) -> str:
    path = ""
    while length - len(path) > 256:
        path += "/" + "d" * min(255, length - len(path) - 2)
    return path + "/" + "f" * (length - len(path) - 1)


@contextmanager
def descended(base: Path, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Walk to the directory of a path that is too long for the kernel to be given at once."""
    *directories, name = path[1:].split("/")
    fd = os.open(base, os.O_RDONLY)
    for directory in directories:
        if make:
            os.mkdir(directory, dir_fd=fd)
        below = os.open(directory, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    yield fd, name
    os.close(fd)


@pytest.mark.demand("sparse")
def test_holes_come_back_from_a_copy_that_has_lost_them(world):
    """As on a file system without holes, or after a copy by a program that fills them."""
    with (world.there / "ring").open("wb") as file:
        file.write(b"x" * 4096 + bytes(4096))
        file.seek(1 << 20)
        file.write(b"y" * 4096)
        file.truncate(1 << 22)
    manifest = world.capture(regular("/ring", 1 << 22))
    assert manifest.files[0].data == ((0, 8192), (1 << 20, (1 << 20) + 4096))
    copy = world.images / "llmux" / manifest.files[0].carried
    copy.write_bytes(copy.read_bytes())
    assert copy.stat().st_blocks * 512 >= 1 << 22
    world.rebuild()
    rebuilt = world.here / "ring"
    assert rebuilt.read_bytes() == (world.there / "ring").read_bytes()
    assert rebuilt.stat().st_blocks == (world.there / "ring").stat().st_blocks


@pytest.mark.demand("sparse")
def test_a_manifest_that_lies_about_data_is_found(world):
    with (world.there / "ring").open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(1 << 20)
    manifest = world.capture(regular("/ring", 1 << 20))
    for data in (((0, 1 << 40),), ((4096, 8192),), ()):
        lie = manifest.files[0].model_copy(update={"data": data})
        lying = manifest.model_copy(update={"files": (lie,)}).sealed()
        (world.images / "llmux-manifest.json").write_bytes(lying.to_json())
        with pytest.raises(SideFileDiffers):
            world.rebuild()
        assert everything(world.here) == set()


def test_holes_are_kept(world):
    with (world.there / "ring").open("wb") as file:
        file.truncate(50 << 20)
        file.seek(20 << 20)
        file.write(b"data")
    world.capture(regular("/ring", 50 << 20))
    world.rebuild()
    assert (world.here / "ring").stat().st_blocks < 100
    assert (world.here / "ring").read_bytes() == (world.there / "ring").read_bytes()


def test_a_sockets_directory_is_made_and_the_socket_is_not(world):
    (world.there / "run/app").mkdir(parents=True, mode=0o750)
    world.capture(regular("/run/app/s.sock", kind=PathKind.SOCKET))
    world.rebuild()
    assert everything(world.here) == {"run", "run/app"}
    assert stat.S_IMODE((world.here / "run/app").stat().st_mode) == stat.S_IMODE(
        (world.there / "run/app").stat().st_mode
    )


def test_a_link_on_the_way_is_rebuilt(world):
    (world.there / "real").mkdir()
    (world.there / "link").symlink_to("real")
    world.capture(regular("/link/s.sock", kind=PathKind.SOCKET))
    world.rebuild()
    assert (world.here / "link").readlink() == Path("real")
    assert (world.here / "real").is_dir()


class TestInodeFlags:
    pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can set them")

    @pytest.fixture
    def flagged(self, world):
        """Yield a world with an append-only log in an immutable directory; both are writable again at the end."""
        (world.there / "logs").mkdir()
        (world.there / "logs/app.log").write_text("log")
        both = [(b"/logs/app.log", APPEND_ONLY), (b"/logs", IMMUTABLE)]
        with Tree(world.there) as tree:
            for path, flag in both:
                with tree.open(path, os.O_PATH) as fd:
                    apply_flags(fd, flag)
        world.capture(regular("/logs/app.log", 3))
        yield world
        for root in (world.there, world.here):
            with Tree(root) as tree:
                for path, flag in reversed(both):
                    if tree.inspect(path):
                        with tree.open(path, os.O_PATH) as fd:
                            clear_flags(fd, flag)

    def test_come_back_and_do_not_hinder_an_undo(self, flagged):
        flagged.rebuild()
        log = flagged.here / "logs/app.log"
        with pytest.raises(PermissionError):
            log.write_text("over it")
        with pytest.raises(PermissionError):
            (flagged.here / "logs/new").touch()
        with log.open("a") as file:
            file.write("")
        assert flagged.plan().actions == ()
        assert flagged.undo().left == []
        assert everything(flagged.here) == set()
