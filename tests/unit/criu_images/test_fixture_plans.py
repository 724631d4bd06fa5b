"""What would be rebuilt for each real dump, and what stands in its way: in a fresh container, in the old one, in an empty root."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from llmux.criu_images._actions import PlaceFile, verb_of
from llmux.criu_images._facts import Facts, Inode, MountPoint, Peer, Port, Processor, Seen
from llmux.criu_images._paths import escape
from llmux.criu_images._plan import make_plan
from llmux.criu_images._safefs import Tree
from llmux.criu_images._survey import survey
from llmux.criu_images.manifest import Manifest, Origin

from . import live
from .live import manifest_of
from .manifests import inode

# Directories that every container has, and that count as of the run time because something was made in them.
ALWAYS_THERE = {b"/", b"/dev", b"/dev/pts", b"/dev/shm", b"/root", b"/srv", b"/tmp"}
# In every fixture: the program's own directory and its output.
COMMON = {("make directory", b"/srv/fixture"), ("place file", b"/srv/fixture/output.log")}


def fresh_container(manifest: Manifest) -> Facts:
    """Describe a container that was just started from the dump's image, on the same machine."""
    paths = {
        directory.path: Seen(inode(directory.metadata.mode))
        for directory in manifest.directories
        if directory.origin is Origin.IMAGE or directory.path in ALWAYS_THERE
    }
    for file in manifest.files:
        if file.carried is None:
            paths |= {
                name: Seen(kept(file), digest=file.digest, build_id=file.build_id) for name in file.names
            }
    paths |= {node.path: Seen(inode(node.mode, rdev=node.rdev)) for node in manifest.nodes}
    return Facts(
        paths=paths,
        mounts=tuple(
            MountPoint(number, 0, "0:1", mount.root, mount.mountpoint, mount.fstype, mount.source)
            for number, mount in enumerate(manifest.mounts)
        ),
        processor=Processor(manifest.host.cpu_model, frozenset(manifest.host.cpu_features)),
        kernel=manifest.host.kernel,
    )


def kept(file) -> Inode:
    return inode(
        file.demanded_mode or file.metadata.mode,
        number=zlib.crc32(file.names[0]),
        size=file.size,
        mtime_ns=file.metadata.mtime_ns,
        links=len(file.names),
    )


def old_container(manifest: Manifest) -> Facts:
    """Describe the container of the dump itself, in which nothing is missing."""
    facts = fresh_container(manifest)
    paths = dict(facts.paths)
    for entry in (*manifest.directories, *manifest.fifos, *manifest.symlinks):
        paths[entry.path] = Seen(inode(entry.metadata.mode))
    for file in manifest.files:
        paths |= {name: Seen(kept(file), digest=file.digest, build_id=file.build_id) for name in file.names}
    peers = {socket.name: Peer.LISTENS for socket in manifest.sockets if socket.external}
    return replace(facts, paths=paths, peers=peers)


def actions(plan):
    names = {
        (verb_of(action), name)
        for action in plan.actions
        for name in (action.names if isinstance(action, PlaceFile) else (action.path,))
    }
    return {(verb, name.removeprefix(b"/srv/fixture/")) for verb, name in names - COMMON}


REBUILT = {
    "append_log": {("place file", name) for name in (b"write-only.log", b"read-write.log", b"empty.log")},
    "fifos": {("make fifo", b"full.fifo"), ("make fifo", b"both.fifo")},
    "ghosts": set(),
    "hard_links": {("place file", b"name-a"), ("place file", b"name-b")},
    "inotify": {("make directory", b"/dev/shm/watched"), ("place file", b"/dev/shm/watched/file")},
    "locks": {("place file", name) for name in (b"flocked", b"posix", b"ofd")},
    "mappings": {("place file", b"data")},
    "memfds": set(),
    "nodes": {("make symbolic link", b"dangling")},
    "shared_memory": {("place file", b"/dev/shm/psm_0123abcd")},
    "shared_table": {("place file", b"opened-after")},
    "tasks": set(),
    "unix_abstract": set(),
    "unix_datagram": set(),
    "unix_deleted": set(),
    "unix_odd_names": {("make directory", b"\xe9t\xe9")},
    "unix_relative": {("make directory", b"one"), ("make directory", b"two")},
    "unix_rights": {("place file", b"in-flight.txt")},
    "unix_stream": set(),
}


@pytest.mark.parametrize(("name", "wanted"), REBUILT.items(), ids=REBUILT)
def test_what_is_rebuilt_in_a_fresh_container(name, wanted):
    plan = make_plan(manifest_of(name), fresh_container(manifest_of(name)))
    assert actions(plan) == wanted
    assert plan.conflicts == ()


@pytest.mark.parametrize("name", ["link_remap", "tiny_engine", "vllm"])
@pytest.mark.demand("link-remap-device")
def test_a_link_remap_is_placed_with_its_living_name_as_one_file(name):
    plan = make_plan(manifest_of(name), fresh_container(manifest_of(name)))
    (semaphore,) = (
        action
        for action in plan.actions
        if isinstance(action, PlaceFile)
        and any(path.startswith(b"/dev/shm/sem.mp-") for path in action.names)
    )
    remap, living = semaphore.names
    assert remap.startswith(b"/dev/shm/link_remap.")
    assert living.startswith(b"/dev/shm/sem.mp-")
    assert semaphore.entry.consumed == (remap,)
    assert semaphore.existing is None
    assert plan.conflicts == ()


def test_vllm_gets_its_log_its_shared_memory_and_what_it_compiled():
    plan = make_plan(manifest_of("vllm"), fresh_container(manifest_of("vllm")))
    placed = {path for action in plan.actions if isinstance(action, PlaceFile) for path in action.names}
    assert sum(path.endswith(b".main.so") for path in placed) > 5
    assert sum(path.startswith(b"/dev/shm/psm_") for path in placed) == 2
    assert b"/srv/fixture/output.log" in placed
    assert not any(path.startswith((b"/opt/", b"/usr/")) for path in placed)


@pytest.mark.parametrize("name", live.NAMES)
def test_nothing_is_rebuilt_where_all_is_there(name):
    plan = make_plan(manifest_of(name), old_container(manifest_of(name)))
    assert plan.actions == ()


def test_an_external_peer_that_is_missing_is_held():
    plan = make_plan(manifest_of("unix_external"), fresh_container(manifest_of("unix_external")))
    assert plan.conflicts == ()
    assert ("hold", b"/srv/fixture/outside.dgram") in [(verb_of(one), one.path) for one in plan.actions]


@pytest.mark.parametrize("name", live.NAMES)
def test_in_an_empty_root_each_file_of_the_image_is_a_conflict(name, tmp_path):
    manifest = manifest_of(name)
    with Tree(tmp_path) as tree:
        plan = make_plan(manifest, survey(manifest, tree))
    subjects = {conflict.subject for conflict in plan.conflicts}
    of_image = {escape(path) for file in manifest.files if file.origin is Origin.IMAGE for path in file.names}
    assert of_image or "mnt" in live.owned(name)
    assert of_image | {escape(node.path) for node in manifest.nodes} <= subjects
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", live.NAMES)
@pytest.mark.demand("pid", "tid")
def test_every_id_of_the_tree_must_be_free(name):
    manifest = manifest_of(name)
    taken = 1 if "pid" in live.owned(name) else min(live.inventory_of(name).ids)
    plan = make_plan(manifest, replace(fresh_container(manifest), ids={taken: "sleep"}))
    conflicts = {conflict.subject for conflict in plan.conflicts if conflict.subject.startswith("id ")}
    assert conflicts == (set() if "pid" in live.owned(name) else {f"id {taken}"})


@pytest.mark.demand("tcp-listen", "udp")
def test_every_bound_port_must_be_free():
    facts = fresh_container(manifest_of("inet"))
    taken = tuple(Port(2, protocol, "0.0.0.0", port) for protocol, port in ((6, 8001), (6, 8002), (17, 9001)))
    plan = make_plan(manifest_of("inet"), replace(facts, ports=taken))
    assert {conflict.subject for conflict in plan.conflicts} == {"port 8001", "port 8002", "port 9001"}


@pytest.mark.demand("ghost-leftover", "leftover-sandbox")
def test_what_a_failed_restore_left_of_ghosts_and_link_remaps_is_removed():
    manifest = manifest_of("ghosts")
    number = next(name.remap_id for name in manifest.free_names if name.path == b"/srv/fixture/plain")
    left = b"/srv/fixture/plain.cr.%x.ghost" % number
    facts = old_container(manifest)
    plan = make_plan(manifest, replace(facts, paths={**facts.paths, left: Seen(inode(number=7))}))
    assert actions(plan) == {("remove stale", left.removeprefix(b"/srv/fixture/"))}


@pytest.mark.demand("unix-stale")
def test_a_socket_where_the_restore_binds_one_is_no_conflict_and_any_other_file_is():
    manifest, path = manifest_of("unix_stream"), b"/srv/fixture/listen.sock"
    facts = old_container(manifest)
    left_socket = replace(facts, paths={**facts.paths, path: Seen(inode(0o140755))})
    assert make_plan(manifest, left_socket).conflicts == ()
    file = replace(facts, paths={**facts.paths, path: Seen(inode())})
    assert [conflict.subject for conflict in make_plan(manifest, file).conflicts] == [escape(path)]
