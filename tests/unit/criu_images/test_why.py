from __future__ import annotations

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import PathKind, take_inventory
from llmux.criu_images._paths import RawPath
from llmux.criu_images._why import explain_path, plain_path

from .live import IMAGES


def explain(maker, path):
    dump = read_dump(maker.directory)
    return explain_path(dump, take_inventory(dump), RawPath(path))


@pytest.fixture
def busy(maker):
    maker.busy()
    return lambda path: explain(maker, path)


def test_a_file_names_each_descriptor_with_its_flags(busy):
    (way,) = busy(b"/tmp/a\nb").ways
    assert way.kind == "regular file"
    assert [(use.pid, use.how, use.details) for use in way.uses] == [
        (7, "fd 0", "O_WRONLY|O_APPEND, at byte 0"),
        (7, "fd 1", "O_WRONLY|O_APPEND, at byte 0"),
    ]
    assert "Can't open file tmp/a\\nb on restore: No such file or directory" in way.restore.says


def test_a_mapping_shows_where_and_how(maker):
    maker.whole(maker.reg(3, "/lib.so", size=9))
    maker.task(7, {}, maker.vma(0x1000, 1 << 6, 3), maker.vma(0x3000, 1 << 6, 3))
    (way,) = explain(maker, b"/lib.so").ways
    assert [use.how for use in way.uses] == ["mapping 1000-2000", "mapping 3000-4000"]
    assert way.uses[0].details == "r-- private, from byte 0"


def test_a_listeners_path_is_bound_by_one_and_the_name_of_its_connections(busy):
    bound, connection = busy(b"/run/s").ways
    assert (bound.kind, [use.how for use in bound.uses]) == ("socket", ["fd 3"])
    assert (connection.kind, [use.how for use in connection.uses]) == ("name of a connection", ["fd 4"])
    assert connection.notes == ("1 socket: 107",)


def test_a_link_remap_and_its_lost_name_name_each_other(busy):
    for path, kind in (
        (b"/dev/shm/link_remap.5", "link remap"),
        (b"/dev/shm/sem.x", "name restored by link"),
    ):
        (way,) = busy(path).ways
        assert way.kind == kind
        assert way.notes == ("/dev/shm/link_remap.5 is the same file as the lost /dev/shm/sem.x",)


def test_the_directory_of_relative_sockets_names_them(busy):
    why = busy(b"/run")
    (way,) = why.ways
    assert way.notes == ("the socket 110 is bound as rel from here (its name_dir)",)
    assert why.below == (b"/run/rel", b"/run/s")


def test_a_directory_that_is_only_on_the_way(busy):
    why = busy(b"/dev")
    assert why.ways == ()
    assert why.below == (b"/dev/shm/link_remap.5", b"/dev/shm/sem.x")
    assert why.referred_to


def test_a_path_that_nobody_refers_to_gets_the_nearest(busy):
    why = busy(b"/dev/shm/sem.y")
    assert not why.referred_to
    assert why.nearest[0] == b"/dev/shm/sem.x"
    assert why.nearest[1] == b"/dev/shm/link_remap.5"


def test_a_ghost_its_image_and_what_a_failed_restore_leaves_of_it(maker):
    maker.whole(maker.reg(3, "/tmp/gone", size=5), fds={5: 3})
    maker.remaps({"orig_id": 3, "remap_id": 0x1F, "remap_type": 1})
    maker.ghost(0x1F, b"hello")
    (way,) = explain(maker, b"/tmp/gone").ways
    assert (way.kind, way.notes) == ("ghost name", ("content in ghost-file-1f.img, 5 bytes",))
    for left in (b"/tmp/gone.cr.1f.ghost", b"/gone.cr.1f.ghost", b"/tmp/gone.cr_link"):
        (way,) = explain(maker, left).ways
        assert (way.kind, way.notes) == (
            "name that a restore makes for a moment",
            ("for the lost name /tmp/gone",),
        )
    for other in (b"/tmp/gone.cr.20.ghost", b"/var/gone.cr.1f.ghost"):
        assert not explain(maker, other).referred_to


def test_a_lock_is_named_with_its_holder(maker):
    maker.whole(maker.reg(3, "/locked"), fds={5: 3})
    lock = {"flag": 2, "type": 1, "pid": 7, "fd": 5, "start": 0, "len": 0}
    maker.image("filelocks.img", "FILE_LOCKS", "file_lock_entry", lock)
    (way,) = explain(maker, b"/locked").ways
    assert way.notes == ("locked by 7 through fd 5: needs --file-locks, and no other holder",)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(b"tmp/x", b"/tmp/x"), (b"//tmp/./x/", b"/tmp/x"), (b"/", b"/"), (b"", b"/"), (b"/a b", b"/a b")],
)
def test_what_is_typed_is_taken_as_criu_prints_it(typed, meant):
    assert plain_path(typed) == meant


@pytest.mark.parametrize("name", sorted(path.name for path in IMAGES.iterdir()))
def test_every_path_of_every_fixture_is_explained(name):
    dump = read_dump(IMAGES / name)
    inventory = take_inventory(dump)
    for reference in inventory.paths:
        why = explain_path(dump, inventory, reference.path)
        way = next(way for way in why.ways if way.kind == reference.kind.value)
        users = {user.pid for user in reference.users}
        assert {use.pid for use in way.uses} == users
        assert way.restore.does
        if reference.kind is not PathKind.SOCKET:
            assert way.restore.says
