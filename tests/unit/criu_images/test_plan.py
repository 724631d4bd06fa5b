"""A table of situations: what the plan does, or refuses with which of CRIU's messages."""

from __future__ import annotations

import socket
import stat

import pytest
from manifests import (
    OTHER_DIGEST,
    directory_entry,
    facts,
    fifo_entry,
    file_entry,
    free_name,
    inode,
    manifest,
    metadata,
    node_entry,
    port_entry,
    raw,
    seen_file,
    socket_entry,
    symlink_entry,
)

from llmux.criu_images._actions import verb_of
from llmux.criu_images._compare import Likeness
from llmux.criu_images._facts import Facts, Port, Processor, Seen
from llmux.criu_images._plan import leftovers_of, make_plan
from llmux.criu_images._policy_parse import parse_policy
from llmux.criu_images.manifest import FreeKind, Manifest, MountEntry, Origin

DIRECTORY = Seen(inode(stat.S_IFDIR | 0o755))
FIFO = Seen(inode(stat.S_IFIFO | 0o600))
LINK = Seen(inode(stat.S_IFLNK | 0o777), target=raw("/run"))
SOCKET = Seen(inode(stat.S_IFSOCK | 0o755))
BLOCKED = Seen(obstacle="a link of user 1000")
DEVICE = Seen(inode(stat.S_IFCHR | 0o666, rdev=259))
KEPT = {"origin": Origin.IMAGE, "carried": None}
LOG = {"demanded_size": None, "written": True}
GROUP = file_entry("/dev/shm/link_remap.9", "/dev/shm/sem.x", consumed=(raw("/dev/shm/link_remap.9"),))


def actions(made: Manifest, here: Facts) -> list[tuple[str, str]]:
    plan = make_plan(made, here)
    assert plan.conflicts == ()
    return [(verb_of(action), action.path.decode()) for action in plan.actions]


def conflicts(made: Manifest, here: Facts) -> list[str]:
    return [str(conflict) for conflict in make_plan(made, here).conflicts]


ACTIONS = {
    "missing directory": (directory_entry("/a"), {}, [("make directory", "/a")]),
    "directory there": (directory_entry("/a", stat.S_IFDIR | 0o755), {"/a": DIRECTORY}, []),
    "directory of another mode that nobody compares": (
        directory_entry("/a"), {"/a": Seen(inode(stat.S_IFDIR | 0o700))}, []),
    "missing fifo": (fifo_entry("/f"), {}, [("make fifo", "/f")]),
    "fifo there": (fifo_entry("/f"), {"/f": FIFO}, []),
    "missing link": (symlink_entry("/l"), {}, [("make symbolic link", "/l")]),
    "link there": (symlink_entry("/l"), {"/l": LINK}, []),
    "device there": (node_entry("/dev/zero"), {"/dev/zero": DEVICE}, []),
    "missing file": (file_entry("/x"), {}, [("place file", "/x")]),
    "same file there": (file_entry("/x"), {"/x": seen_file()}, []),
    "missing log": (file_entry("/log", **LOG), {}, [("place file", "/log")]),
    "grown log": (file_entry("/log", **LOG), {"/log": seen_file(size=999, digest=OTHER_DIGEST)}, []),
    "image's file there": (file_entry("/lib", **KEPT, build_id="aa", digest=None), {"/lib": Seen(inode(), build_id="aa")}, []),
    "image's file of the same build, installed again": (
        file_entry("/lib", **KEPT, build_id="aabb0000", digest=None), {"/lib": Seen(inode(mtime_ns=9), build_id="aabb")}, []),
    "group missing": (GROUP, {}, [("place file", "/dev/shm/link_remap.9")]),
    "group whole": (GROUP, {"/dev/shm/link_remap.9": seen_file(), "/dev/shm/sem.x": seen_file()}, []),
    "group's link remap consumed": (
        GROUP, {"/dev/shm/sem.x": seen_file()}, [("place file", "/dev/shm/link_remap.9")]),
    "one of two hard links": (file_entry("/x", "/y"), {"/y": seen_file()}, [("place file", "/x")]),
    "stale ghost": (
        free_name("/t/g", FreeKind.GHOST_NAME, 26), {"/t/g.cr.1a.ghost": Seen(inode())}, [("remove stale", "/t/g.cr.1a.ghost")]),
    "stale ghost in an ancestor": (
        free_name("/t/g", FreeKind.GHOST_NAME, 26), {"/g.cr.1a.ghost": Seen(inode())}, [("remove stale", "/g.cr.1a.ghost")]),
    "another dump's ghost": (free_name("/t/g", FreeKind.GHOST_NAME, 26), {"/t/g.cr.1b.ghost": Seen(inode())}, []),
    "stale fake link": (
        free_name("/t/g", FreeKind.LINKED_NAME), {"/t/g.cr_link": Seen(inode())}, [("remove stale", "/t/g.cr_link")]),
    "stale socket": (free_name("/t/s", FreeKind.SOCKET), {"/t/s": SOCKET}, []),
    "lost name taken": (free_name("/t/g", FreeKind.LINKED_NAME), {"/t/g": seen_file()}, []),
}  # fmt: skip

PLACES = {
    "DirectoryEntry": "directories",
    "FifoEntry": "fifos",
    "SymlinkEntry": "symlinks",
    "NodeEntry": "nodes",
    "FileEntry": "files",
    "FreeName": "free_names",
    "SocketEntry": "sockets",
    "PortEntry": "ports",
}


def manifest_of(*entries) -> Manifest:
    return manifest(**{PLACES[type(entry).__name__]: (entry,) for entry in entries})


@pytest.mark.parametrize(("entry", "here", "expected"), ACTIONS.values(), ids=ACTIONS)
def test_actions(entry, here, expected):
    assert actions(manifest_of(entry), facts(here)) == expected


CONFLICTS = {
    "cwd of another mode": (
        directory_entry("/a", stat.S_IFDIR | 0o700), {"/a": DIRECTORY}, "/a", "File a has bad mode 040755 (expect 040700)"),
    "file where a directory was": (directory_entry("/a"), {"/a": seen_file()}, "/a", "regular file"),
    "file where a fifo was": (fifo_entry("/f"), {"/f": seen_file()}, "/f", "Can't restore pipe size"),
    "fifo of another mode": (fifo_entry("/f"), {"/f": Seen(inode(stat.S_IFIFO | 0o666))}, "/f", "bad mode"),
    "link to elsewhere": (
        symlink_entry("/l"), {"/l": Seen(inode(stat.S_IFLNK | 0o777), target=raw("/var"))}, "/l", "a symbolic link to /var, the dump has a symbolic link to /run here"),
    "directory where a link was": (symlink_entry("/l"), {"/l": DIRECTORY}, "/l", "a directory, the dump has a symbolic link to /run here"),
    "device missing": (node_entry("/dev/kfd"), {}, "/dev/kfd", "No such file or directory"),
    "another device": (node_entry("/dev/zero"), {"/dev/zero": Seen(inode(stat.S_IFCHR | 0o666, rdev=1))}, "/dev/zero", "another node"),
    "image's file missing": (file_entry("/lib", **KEPT), {}, "/lib", "Can't open file lib on restore: No such file or directory"),
    "image's file of another size": (file_entry("/lib", **KEPT), {"/lib": Seen(inode(size=7))}, "/lib", "File lib has bad size 7 (expect 100)"),
    "image's file of another build": (
        file_entry("/lib", **KEPT, build_id="aa", digest=None), {"/lib": Seen(inode(mtime_ns=9), build_id="bb")}, "/lib", "File lib has bad build-ID"),
    "image's data of other content": (file_entry("/icu", **KEPT), {"/icu": seen_file(digest=OTHER_DIGEST)}, "/icu", "other content"),
    "file of another mode": (file_entry("/x"), {"/x": seen_file(mode=stat.S_IFREG | 0o600)}, "/x", "File x has bad mode 0100600 (expect 0100644)"),
    "file of other content": (file_entry("/x"), {"/x": seen_file(digest=OTHER_DIGEST)}, "/x", "other content"),
    "written file that has grown, in the main namespace": (
        file_entry("/x", written=True), {"/x": seen_file(size=101)}, "/x", "File x has bad size 101 (expect 100)"),
    "log of another mode": (file_entry("/log", **LOG), {"/log": seen_file(mode=stat.S_IFREG | 0o600)}, "/log", "bad mode"),
    "directory where a file was": (file_entry("/x"), {"/x": DIRECTORY}, "/x", "directory"),
    "partner of other content": (GROUP, {"/dev/shm/sem.x": seen_file(digest=OTHER_DIGEST)}, "/dev/shm/sem.x", "other content"),
    "another dump's link remap": (
        GROUP, {"/dev/shm/link_remap.9": seen_file(2, OTHER_DIGEST), "/dev/shm/sem.x": seen_file()},
        "/dev/shm/link_remap.9", "Remove it if no other restore or dump is under way"),
    "a link remap that is a mere copy": (
        GROUP, {"/dev/shm/link_remap.9": seen_file(2), "/dev/shm/sem.x": seen_file()}, "/dev/shm/link_remap.9", "not the dump's link remap"),
    "a link remap without its group": (GROUP, {"/dev/shm/link_remap.9": seen_file()}, "/dev/shm/link_remap.9", "without its other names"),
    "two files that were one": (file_entry("/x", "/y"), {"/x": seen_file(1), "/y": seen_file(2)}, "/x", "hard links"),
    "file at a socket's path": (free_name("/t/s", FreeKind.SOCKET), {"/t/s": seen_file()}, "/t/s", "Address already in use"),
    "blocked way to a file": (file_entry("/x"), {"/x": BLOCKED}, "/x", "a link of user 1000"),
    "blocked way to a directory": (directory_entry("/a"), {"/a": BLOCKED}, "/a", "a link of user 1000"),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "here", "subject", "says"), CONFLICTS.values(), ids=CONFLICTS)
def test_conflicts(entry, here, subject, says):
    (conflict,) = make_plan(manifest_of(entry), facts(here)).conflicts
    assert conflict.subject == subject
    assert says in str(conflict)
    assert conflict.advice


@pytest.mark.demand("file-grown")
def test_a_grown_file_is_masked_where_mounts_are_private():
    entry = file_entry("/x", written=True)
    here = facts({"/x": seen_file(size=101)}, private_mounts=True)
    assert actions(manifest_of(entry), here) == [("mask with copy", "/x")]


@pytest.mark.parametrize("entry", [file_entry("/x"), file_entry("/x", "/y", written=True)])
def test_only_a_written_file_of_one_name_is_masked(entry):
    here = facts({name.decode(): seen_file(size=101) for name in entry.names}, private_mounts=True)
    assert make_plan(manifest_of(entry), here).conflicts


class TestPolicy:
    """What a rule makes of a file that is here and differs."""

    GROWN = seen_file(size=101)
    CHANGED = seen_file(digest=OTHER_DIGEST)

    def plan(self, entry, seen, *rules, private=True):
        here = facts({name.decode(): seen for name in entry.names}, private_mounts=private)
        return make_plan(manifest_of(entry), here, parse_policy(rules))

    def verbs(self, made) -> list[str]:
        return [verb_of(action) for action in made.actions]

    def test_a_log_that_grew_is_masked_though_nobody_writes_to_it(self):
        made = self.plan(file_entry("/log"), self.GROWN, "mask change=grown path=/log")
        assert self.verbs(made) == ["mask with copy"]
        assert made.actions[0].reason.endswith("; policy: mask change=grown path=/log")

    def test_one_that_differs_has_not_grown(self):
        shortened, replaced = seen_file(size=99), seen_file(size=101, digest=OTHER_DIGEST)
        for seen in (shortened, replaced, self.CHANGED):
            made = self.plan(file_entry("/log"), seen, "mask change=grown")
            assert made.actions == ()
            assert made.conflicts
            assert self.verbs(self.plan(file_entry("/log"), seen, "mask change=other")) == ["mask with copy"]

    def test_where_nothing_can_be_masked_the_conflict_names_the_rule(self):
        for made in (
            self.plan(file_entry("/log"), self.GROWN, "mask", private=False),
            self.plan(file_entry("/a", "/b"), self.GROWN, "mask"),
            self.plan(file_entry("/log"), seen_file(mode=stat.S_IFREG | 0o600), "mask"),
        ):
            assert made.actions == ()
            assert "The rule `mask` would mask it, but it can't here" in str(made.conflicts[0])

    def test_a_written_file_is_not_masked_where_a_rule_forbids_it(self):
        made = self.plan(file_entry("/db", written=True), self.GROWN, "conflict written=yes")
        assert (made.actions, len(made.conflicts)) == ((), 1)

    @pytest.mark.parametrize("entry", [file_entry("/x"), file_entry("/x", **KEPT)])
    def test_other_content_is_kept_and_told(self, entry):
        made = self.plan(entry, self.CHANGED, "keep path=/x")
        assert (made.actions, made.conflicts) == ((), ())
        assert made.warnings == ("/x: has other content than in the dump; policy: keep path=/x",)

    @pytest.mark.parametrize("entry", [file_entry("/x"), file_entry("/x", **KEPT)])
    def test_what_criu_refuses_is_not_kept(self, entry):
        made = self.plan(entry, self.GROWN, "keep")
        assert made.actions == ()
        assert "The rule `keep` would keep it, but CRIU would not accept it" in str(made.conflicts[0])

    def test_what_was_not_carried_can_not_be_masked(self):
        made = self.plan(file_entry("/x", **KEPT), self.CHANGED, "mask")
        assert "The rule `mask` would mask it, but nothing of it was carried" in str(made.conflicts[0])

    def test_a_missing_file_that_a_rule_left_says_so(self):
        entry = file_entry("/x", origin=Origin.RUN_TIME, carried=None)
        made = make_plan(manifest_of(entry), facts({}))
        assert "The capture's policy left it" in str(made.conflicts[0])


def test_each_file_that_is_not_made_is_compared():
    entries = tuple(file_entry(f"/{name}", **KEPT) for name in "abc")
    here = facts({"/a": seen_file(), "/b": seen_file(digest=OTHER_DIGEST), "/c": seen_file(size=7)})
    compared = make_plan(manifest(files=entries), here).compared
    assert [(one.path, one.likeness) for one in compared] == [
        (b"/a", Likeness.SAME),
        (b"/b", Likeness.OTHER_CONTENT),
        (b"/c", Likeness.REFUSED),
    ]


@pytest.mark.demand("mounts")
def test_a_missing_volume_is_one_conflict():
    mount = MountEntry(
        mountpoint=raw("/models"), root=raw("/"), fstype="ext4", source=raw("/dev/sdb"), needed=True
    )
    entries = [
        file_entry(f"/models/{name}", origin=Origin.VOLUME, carried=None, mount=raw("/models"))
        for name in "ab"
    ]
    (text,) = conflicts(manifest(files=tuple(entries), mounts=(mount,)), facts())
    assert text.startswith("/models: nothing is mounted here, and 2 files")


@pytest.mark.parametrize(
    "here", [{}, {"/dev/shm/sem.x": seen_file()}], ids=["alone", "beside a partner that is another file"]
)
@pytest.mark.demand("link-remap-leftover")
def test_a_link_remap_that_a_rebuild_of_this_dump_made_gives_way(here):
    mine = seen_file(2, OTHER_DIGEST)
    remap = raw("/dev/shm/link_remap.9")
    place = facts({**here, "/dev/shm/link_remap.9": mine}, own=frozenset({(remap, mine.inode.born)}))
    assert actions(manifest_of(GROUP), place) == [
        ("remove stale", "/dev/shm/link_remap.9"),
        ("place file", "/dev/shm/link_remap.9"),
    ]


@pytest.mark.parametrize(
    ("entry", "path", "others"),
    [
        (GROUP, "/dev/shm/link_remap.9", {"/dev/shm/sem.x": seen_file()}),
        (GROUP, "/dev/shm/link_remap.9", {}),
        (free_name("/t/g", FreeKind.GHOST_NAME, 26), "/t/g.cr.1a.ghost", {}),
    ],
)
def test_what_another_restore_that_is_not_over_has_made_is_a_conflict(entry, path, others):
    there = seen_file()
    claim = (raw(path), there.inode.born if entry is GROUP else None)
    here = facts({path: there, **others}, claimed={claim: "abc.json"})
    plan = make_plan(manifest_of(entry), here)
    assert plan.actions == ()
    (conflict,) = plan.conflicts
    assert "another restore that is not over (its journal is abc.json)" in str(conflict)


def test_what_is_stale_goes_first_and_parents_come_before_children():
    made = manifest(
        directories=(directory_entry("/a"), directory_entry("/a/b")),
        files=(file_entry("/a/b/x"), GROUP),
        fifos=(fifo_entry("/a/f"),),
    )
    left = seen_file(2)
    mine = frozenset({(raw("/dev/shm/link_remap.9"), left.inode.born)})
    here = facts({"/dev/shm/link_remap.9": left}, own=mine)
    assert [path for _, path in actions(made, here)] == [
        "/dev/shm/link_remap.9", "/a", "/a/b", "/a/b/x", "/dev/shm/link_remap.9", "/a/f"
    ]  # fmt: skip


@pytest.mark.demand("pid", "tid", "sid-pgid")
def test_each_id_in_use_is_a_conflict():
    made = manifest(ids=(1000, 1001, 1002))
    texts = conflicts(made, facts(ids={1001: "sleep", 7: "init"}))
    assert len(texts) == 1
    assert texts[0].startswith("id 1001: in use by sleep")
    assert "Can't fork for 1001: File exists" in texts[0]
    threaded = manifest(ids=(1000, 1001, 1002), threads=(1001,))
    assert "Unable to create a thread: -17" in conflicts(threaded, facts(ids={1001: "sleep"}))[0]


@pytest.mark.parametrize(
    ("entry", "taken", "clash"),
    [
        (port_entry("127.0.0.1", 80), Port(2, 6, "127.0.0.1", 80), True),
        (port_entry("127.0.0.1", 80), Port(2, 6, "127.0.0.2", 80), False),
        (port_entry("127.0.0.1", 80), Port(2, 6, "0.0.0.0", 80), True),
        (port_entry("0.0.0.0", 80), Port(2, 6, "127.0.0.1", 80), True),
        (port_entry("127.0.0.1", 80), Port(2, 6, "127.0.0.1", 81), False),
        (port_entry("127.0.0.1", 80), Port(2, 17, "127.0.0.1", 80), False),
        (port_entry("127.0.0.1", 80), Port(10, 6, "::", 80), True),
        (port_entry("::", 80, family=10), Port(2, 6, "127.0.0.1", 80), True),
        (port_entry("::", 80, family=10, v6only=True), Port(2, 6, "127.0.0.1", 80), False),
        (port_entry("0.0.0.0", 0), Port(2, 6, "0.0.0.0", 0), False),
    ],
)
@pytest.mark.demand("tcp-listen", "udp")
def test_ports(entry, taken, clash):
    assert socket.AF_INET6 == 10
    assert bool(conflicts(manifest_of(entry), facts(ports=(taken,)))) is clash


@pytest.mark.demand("unix-abstract", "net-namespace")
def test_an_abstract_name_that_is_taken():
    made = manifest_of(socket_entry(b"\0a\0b"))
    assert conflicts(made, facts(socket_names=frozenset({b"@a@b"})))
    assert not conflicts(made, facts(socket_names=frozenset({b"@a"})))
    own = socket_entry(b"\0a\0b").model_copy(update={"own_network": True})
    assert not conflicts(manifest_of(own), facts(socket_names=frozenset({b"@a@b"})))


@pytest.mark.demand("cpu")
def test_a_lesser_processor_is_a_conflict_and_a_greater_one_is_not():
    lesser = facts(processor=Processor("old", frozenset({"sse2"})))
    (text,) = conflicts(manifest(), lesser)
    assert "lacks avx2" in text
    assert not conflicts(
        manifest(), facts(processor=Processor("new", frozenset({"sse2", "avx2", "avx512f"})))
    )


@pytest.mark.demand("amx", "kernel")
def test_another_kernel_and_amx_are_warnings():
    host = manifest().host.model_copy(update={"cpu_features": ("amx_tile",)})
    here = facts(kernel="7.0", processor=Processor("x", frozenset({"amx_tile"})))
    plan = make_plan(manifest(host=host), here)
    assert plan.conflicts == ()
    assert any("7.0" in warning for warning in plan.warnings)
    assert any("AMX" in warning for warning in plan.warnings)


@pytest.mark.demand("ghost-leftover")
def test_leftovers_are_named_as_criu_names_them():
    assert leftovers_of(free_name("/a/b/g", FreeKind.GHOST_NAME, 255)) == (
        b"/a/b/g.cr_link", b"/a/b/g.cr.ff.ghost", b"/a/g.cr.ff.ghost", b"/g.cr.ff.ghost"
    )  # fmt: skip
    assert leftovers_of(free_name("/a/s", FreeKind.SOCKET)) == ()


def test_metadata_alone_is_no_difference():
    entry = file_entry("/x", metadata=metadata(stat.S_IFREG | 0o644))
    assert actions(manifest_of(entry), facts({"/x": seen_file(uid=5, mtime_ns=77)})) == []
