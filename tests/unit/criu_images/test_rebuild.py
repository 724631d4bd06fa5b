"""Capture, rebuild, undo and verify below a directory of the test's own; the laws over random trees are in tests/property."""

from __future__ import annotations

import json
import os
import resource
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from manifests import raw
from worlds import World, everything, regular

from llmux.criu_images import _build, plan, read_manifest, verify
from llmux.criu_images._enums import RemapType
from llmux.criu_images._inventory import PathKind, PathReference
from llmux.criu_images._journal import settle
from llmux.criu_images._linux import APPEND_ONLY, IMMUTABLE
from llmux.criu_images._metadata import apply_flags, clear_flags
from llmux.criu_images._records import FileId, Remap
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import (
    CaptureFailed,
    ImagesDiffer,
    JournalInvalid,
    ManifestInvalid,
    ManifestMissing,
    RebuildRefused,
    SideFileDiffers,
)

O_APPEND_LOG = os.O_WRONLY | os.O_APPEND


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_log_comes_back_to_its_recorded_length(world):
    (world.there / "app.log").write_text("recorded and grown")
    world.capture(regular("/app.log", 8))
    world.rebuild()
    assert (world.here / "app.log").read_text() == "recorded"


def test_a_grown_log_is_left_alone(world):
    (world.there / "app.log").write_text("old")
    world.capture(regular("/app.log", flags=O_APPEND_LOG))
    (world.here / "app.log").write_text("old and new")
    assert world.rebuild().actions == ()
    assert (world.here / "app.log").read_text() == "old and new"


def test_a_file_of_the_image_is_recorded_and_not_carried(world):
    (world.there / "lib.so").write_text("library")
    far_future = 2**62
    manifest = world.capture(regular("/lib.so", 7), started_ns=far_future)
    assert manifest.files[0].carried is None
    assert manifest.files[0].digest.startswith("sha256-sampled:")
    assert not list((world.images / "llmux").iterdir())
    with pytest.raises(RebuildRefused, match=r"Can't open file lib\.so on restore"):
        world.rebuild()


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


@pytest.fixture
def in_memory():
    """Yield a world whose `here` is on a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield World(Path(directory))


class TestWhatAnEarlierRestoreLeftInMemory:
    @pytest.fixture
    def restored(self, in_memory):
        """Yield a world in which a restore has consumed its link remap, its tree has worked and is gone."""
        world = in_memory
        (world.there / "sem.a").write_bytes(b"1")
        (world.there / "link_remap.7").hardlink_to(world.there / "sem.a")
        (world.there / "ring").write_bytes(b"ring")
        world.capture(
            regular("/link_remap.7", 1, kind=PathKind.LINK_REMAP), regular("/ring", 4, flags=os.O_RDWR)
        )
        world.rebuild()
        (world.here / "link_remap.7").unlink()
        (world.here / "sem.a").write_bytes(b"0")
        (world.here / "ring").write_bytes(b"RING")
        settle(world.journal)
        return world

    def test_makes_room_for_the_next(self, restored):
        restored.rebuild()
        assert (restored.here / "sem.a").read_bytes() == b"1"
        assert (restored.here / "link_remap.7").samefile(restored.here / "sem.a")
        assert (restored.here / "ring").read_bytes() == b"ring"
        assert restored.plan().actions == ()

    @pytest.mark.parametrize("name", ["sem.a", "ring"])
    def test_stays_while_a_process_has_it_open(self, restored, name):
        with (restored.here / name).open("rb"):
            with pytest.raises(RebuildRefused, match="A process has it open: stop that one"):
                restored.rebuild()
            assert (restored.here / name).read_bytes() in {b"0", b"RING"}
        restored.rebuild()

    @pytest.mark.parametrize("name", ["sem.a", "ring"])
    def test_stays_if_somebody_else_made_it_since(self, restored, name):
        path = restored.here / name
        path.rename(restored.here / "aside")
        path.write_bytes(b"X" * (restored.here / "aside").stat().st_size)
        with pytest.raises(RebuildRefused, match="No process has it open: remove it if nobody needs it"):
            restored.rebuild()
        assert path.read_bytes().startswith(b"X")

    def test_is_forgotten_once_it_is_gone(self, restored):
        made = restored.journal.parent / "in-memory"
        assert made.exists()
        for path in restored.here.iterdir():
            path.unlink()
        restored.capture()
        restored.rebuild()
        assert not made.exists()


class TestTwoDumpsWithOneLinkRemapsNumber:
    """CRIU numbers link remaps by the file's id, so that two dumps of one program both have `link_remap.7`."""

    @pytest.fixture
    def other(self, in_memory, tmp_path):
        """Yield another dump's world, to be restored in the same memory with a journal beside."""
        other = World(tmp_path)
        other.here, other.journal = in_memory.here, in_memory.journal.with_name("other.json")
        for world, name, content in ((in_memory, "sem.a", b"a"), (other, "sem.b", b"b")):
            (world.there / name).write_bytes(content)
            (world.there / "link_remap.7").hardlink_to(world.there / name)
            world.capture(regular("/link_remap.7", 1, kind=PathKind.LINK_REMAP))
        return other

    def test_the_second_waits_for_the_first(self, in_memory, other):
        in_memory.rebuild()
        with pytest.raises(
            RebuildRefused, match=r"another restore that is not over \(its journal is j\.json\)"
        ):
            other.rebuild()
        assert everything(in_memory.here) == {"link_remap.7", "sem.a"}
        (in_memory.here / "link_remap.7").unlink()  # as CRIU does at the end of a restore
        settle(in_memory.journal)
        other.rebuild()
        assert everything(in_memory.here) == {"link_remap.7", "sem.a", "sem.b"}

    def test_a_first_that_failed_is_undone(self, in_memory, other):
        in_memory.rebuild()
        in_memory.undo()
        other.rebuild()
        assert everything(in_memory.here) == {"link_remap.7", "sem.b"}

    def test_one_of_unknown_origin_stays(self, in_memory, other):
        in_memory.rebuild()
        in_memory.journal.unlink()
        with pytest.raises(RebuildRefused, match="Remove it if no other restore or dump is under way"):
            other.rebuild()
        assert (in_memory.here / "link_remap.7").read_bytes() == b"a"


def test_what_another_process_shares_is_a_warning(in_memory):
    (in_memory.there / "ring").write_bytes(b"ring")
    in_memory.capture(regular("/ring", 4, flags=os.O_RDWR))
    in_memory.rebuild()
    with (in_memory.here / "ring").open("rb"):
        assert any("/ring is open in another process" in warning for warning in in_memory.plan().warnings)
    assert not any("/ring" in warning for warning in in_memory.plan().warnings)


@pytest.mark.parametrize("name", ["", "llmux", "llmux-manifest.json"])
def test_a_checkpoint_that_everybody_may_write_to_is_refused(world, name):
    (world.there / "x").write_text("x")
    world.capture(regular("/x", 1))
    (world.images / name).chmod(0o1777)
    with pytest.raises(RebuildRefused, match=rf"{name}: every user may write to the checkpoint"):
        world.rebuild()
    assert everything(world.here) == set()


def test_what_an_earlier_restore_left_on_a_disk_stays(world):
    (world.there / "data").write_bytes(b"data")
    world.capture(regular("/data", 4))
    world.rebuild()
    settle(world.journal)
    (world.here / "data").write_bytes(b"DATA")
    with pytest.raises(RebuildRefused, match="/data: has other content"):
        world.rebuild()


def test_a_journal_whose_last_line_was_cut_goes_on(world):
    (world.there / "a").mkdir()
    (world.there / "a/file").write_text("x")
    world.capture(regular("/a/file", 1))
    world.rebuild()
    with world.journal.open("ab") as journal:
        journal.write(b'{"kind": "no')
    (world.here / "a/file").unlink()
    world.rebuild()
    assert world.undo().left == []
    assert everything(world.here) == set()


def test_a_full_journal_fails_before_anything_is_made(world):
    (world.there / "dir").mkdir()
    (world.there / "dir/x").write_text("x")
    world.capture(regular("/dir/x", 1))
    world.journal.parent.mkdir(mode=0o700)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
    try:
        with pytest.raises(JournalInvalid, match=r"j\.json: File too large"):
            world.rebuild()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert everything(world.here) == set()


@pytest.mark.demand("hard-links", "link-remap-device")
def test_hard_links_out_of_reach_are_a_warning(world):
    (world.there / "one").write_text("x")
    (world.there.parent / "two").hardlink_to(world.there / "one")
    manifest = world.capture(regular("/one", 1))
    assert manifest.warnings == ("/one has 1 more hard link out of reach, which a restore does not join",)


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


def test_a_ghosts_lost_directory_is_not_asked_for(world):
    (world.there / "tmp").mkdir()
    manifest = world.capture(regular("/tmp/lost/ghost", kind=PathKind.GHOST_NAME))
    assert [entry.path for entry in manifest.directories] == [b"/", b"/tmp"]


def test_a_link_on_the_way_is_rebuilt(world):
    (world.there / "real").mkdir()
    (world.there / "link").symlink_to("real")
    world.capture(regular("/link/s.sock", kind=PathKind.SOCKET))
    world.rebuild()
    assert (world.here / "link").readlink() == Path("real")
    assert (world.here / "real").is_dir()


@pytest.mark.parametrize("kind", [PathKind.REGULAR, PathKind.DIRECTORY, PathKind.FIFO, PathKind.LINK_REMAP])
def test_what_the_dump_needs_and_is_not_there_fails_the_capture(world, kind):
    with pytest.raises(CaptureFailed, match="/none"):
        world.capture(regular("/none", kind=kind))
    assert not (world.images / "llmux-manifest.json").exists()


def test_a_file_shorter_than_the_dump_says_fails_the_capture(world):
    (world.there / "cut").write_text("abc")
    with pytest.raises(CaptureFailed, match="shorter than the 4 bytes"):
        world.capture(regular("/cut", 4))
    assert not (world.images / "llmux-manifest.json").exists()


def test_a_second_capture_replaces_the_first(world):
    for name in "ab":
        (world.there / name).write_text(name)
    world.capture(regular("/a", 1), regular("/b", 1))
    world.capture(regular("/b", 1))
    assert [path.name for path in (world.images / "llmux").iterdir()] == ["0"]
    verify(world.images)


def test_conflicts_leave_everything_as_it_was(world):
    (world.there / "dir").mkdir()
    (world.there / "dir/x").write_text("x")
    (world.there / "y").write_text("y")
    world.capture(regular("/dir/x", 1), regular("/y", 1))
    (world.here / "y").write_text("another")
    with pytest.raises(RebuildRefused, match=r"File y has bad size 7 \(expect 1\)"):
        world.rebuild()
    assert everything(world.here) == {"y"}
    assert not world.journal.exists()


def test_a_failure_half_way_takes_back_what_was_made(world):
    for name in "ab":
        (world.there / name).mkdir()
        (world.there / name / "file").write_text(name)
    world.capture(regular("/a/file", 1), regular("/b/file", 1))
    (world.images / "llmux/1").write_bytes(b"X")
    with pytest.raises(SideFileDiffers, match="llmux/1"):
        world.rebuild()
    assert everything(world.here) == set()


def test_a_killed_rebuild_can_be_undone(world, monkeypatch):
    (world.there / "dir").mkdir()
    (world.there / "dir/file").write_text("x")
    os.mkfifo(world.there / "dir/pipe")
    world.capture(regular("/dir/file", 1), regular("/dir/pipe", kind=PathKind.FIFO))
    before = everything(world.here)
    for call in ("mkdir", "open", "link", "unlink", "mkfifo"):
        code = os.fork()
        if code == 0:
            monkeypatch.setattr(_build.os, call, lambda *_, **__: os._exit(9))
            world.rebuild()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(code, 0)[1]) == 9
        assert world.undo().left == []
        assert everything(world.here) == before


@pytest.mark.demand("failed-restore")
def test_undo_leaves_what_was_changed_since(world):
    (world.there / "dir").mkdir()
    for name in ("kept", "changed"):
        (world.there / "dir" / name).write_text("x")
    world.capture(regular("/dir/kept", 1), regular("/dir/changed", 1))
    world.rebuild()
    (world.here / "dir/changed").write_text("more")
    (world.here / "dir/foreign").write_text("mine")
    undone = world.undo()
    assert undone.removed == [b"/dir/kept"]
    assert {(left.path, left.why) for left in undone.left} == {
        (b"/dir/changed", "it was changed since"),
        (b"/dir", "it is not empty"),
    }
    assert everything(world.here) == {"dir", "dir/changed", "dir/foreign"}


@pytest.mark.demand("leftover-sandbox", "unix-stale")
def test_undo_clears_the_sockets_and_ghosts_of_a_failed_restore(world):
    (world.there / "run").mkdir()
    world.capture(
        regular("/run/s", kind=PathKind.SOCKET),
        PathReference(raw("/g"), PathKind.GHOST_NAME, (), remap=Remap(FileId(1), 26, RemapType.GHOST)),
    )
    (world.here / "s2").touch()
    world.rebuild()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(world.here / "run/s"))
    (world.here / "g.cr.1a.ghost").touch()
    assert world.undo().left == []
    assert everything(world.here) == {"s2"}


@pytest.mark.demand("unix-stale")
def test_undo_leaves_a_socket_that_was_there_before(world):
    world.capture(regular("/s", kind=PathKind.SOCKET))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(world.here / "s"))
    world.rebuild()
    world.undo()
    assert everything(world.here) == {"s"}


def test_undo_without_a_rebuild_does_nothing(world):
    world.capture()
    assert world.undo().removed == []


def test_a_journal_that_others_could_write_is_refused(world):
    world.capture()
    world.journal.parent.mkdir()
    world.journal.parent.chmod(0o777)
    with pytest.raises(JournalInvalid, match="other users"):
        world.undo()


def test_a_journal_of_something_else_is_refused(world):
    world.capture()
    world.journal.parent.mkdir(mode=0o700)
    world.journal.write_text('{"kind": "file"}\n')
    with pytest.raises(JournalInvalid, match="not a journal"):
        world.undo()


@pytest.mark.demand("read-only")
def test_a_read_only_directory_of_images_is_enough(world):
    (world.there / "x").write_text("x")
    world.capture(regular("/x", 1))
    before = everything(world.images)
    world.images.chmod(0o500)
    world.rebuild()
    verify(world.images)
    assert everything(world.images) == before


class TestVerify:
    @pytest.fixture
    def captured(self, world):
        (world.there / "x").write_text("content")
        world.capture(regular("/x", 7))
        assert verify(world.images) == read_manifest(world.images)
        return world

    def test_no_manifest(self, captured):
        (captured.images / "llmux-manifest.json").unlink()
        with pytest.raises(ManifestMissing, match="no manifest"):
            verify(captured.images)

    @pytest.mark.demand("foreign-manifest")
    def test_an_edited_manifest(self, captured):
        path = captured.images / "llmux-manifest.json"
        raw_manifest = json.loads(path.read_text())
        raw_manifest["files"][0]["metadata"]["uid"] += 1
        path.write_text(json.dumps(raw_manifest))
        with pytest.raises(ManifestInvalid, match="seal"):
            verify(captured.images)

    @pytest.mark.parametrize("data", [b"CORE", b"core and more", b""])
    @pytest.mark.demand("foreign-manifest")
    def test_another_image(self, captured, data):
        (captured.images / "core-1.img").write_bytes(data)
        with pytest.raises(ImagesDiffer, match=r"core-1\.img"):
            verify(captured.images)
        with pytest.raises(ImagesDiffer, match=r"core-1\.img"):
            captured.rebuild()
        with pytest.raises(ImagesDiffer, match=r"core-1\.img"):
            captured.plan()

    def test_a_missing_image(self, captured):
        (captured.images / "core-1.img").unlink()
        with pytest.raises(ImagesDiffer, match=r"core-1\.img: missing"):
            verify(captured.images)

    def test_an_image_too_many(self, captured):
        (captured.images / "core-2.img").touch()
        with pytest.raises(ImagesDiffer, match=r"core-2\.img: not in the manifest"):
            verify(captured.images)

    @pytest.mark.parametrize("data", [b"CONTENT", b"content and more", b""])
    def test_another_side_file(self, captured, data):
        (captured.images / "llmux/0").write_bytes(data)
        with pytest.raises(SideFileDiffers, match="llmux/0") as by_verify:
            verify(captured.images)
        with pytest.raises(SideFileDiffers, match="llmux/0") as by_rebuild:
            captured.rebuild()
        if len(data) != 7:
            assert str(by_verify.value) == str(by_rebuild.value)
        assert everything(captured.here) == set()

    def test_a_missing_side_file(self, captured):
        (captured.images / "llmux/0").unlink()
        with pytest.raises(SideFileDiffers, match="llmux/0: missing"):
            verify(captured.images)
        with pytest.raises(SideFileDiffers, match="llmux/0: missing"):
            captured.rebuild()
        assert everything(captured.here) == set()


def test_plan_changes_nothing(world):
    (world.there / "x").write_text("x")
    world.capture(regular("/x", 1))
    assert len(plan(world.images, root=world.here).actions) == 1
    assert everything(world.here) == set()


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
