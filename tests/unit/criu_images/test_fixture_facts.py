"""What each real dump was made to show: stated facts, beyond what the kernel told."""

from __future__ import annotations

import pytest

from llmux.criu_images._enums import MappingKind, RemapType, SeccompMode, Shutdown, SocketType
from llmux.criu_images._inventory import PathKind
from llmux.criu_images._needs import NeedKind
from llmux.criu_images._records import (
    Epoll,
    EventFd,
    Fifo,
    NetlinkSocket,
    RegularFile,
    SignalFd,
    Terminal,
    TimerFd,
)
from llmux.criu_images._users import Role, User

from . import live
from .live import dump_of, inventory_of

HOME = b"/srv/fixture"
# In every fixture: the program's own output, its directory, its input.
COMMON = {HOME, HOME + b"/output.log", b"/dev/null", b"/"}


def kinds(name):
    """Return the paths that a program made or asked for, each with its kinds; libraries are left out."""
    found = {}
    for reference in inventory_of(name).paths:
        if reference.path not in COMMON and not reference.path.startswith(b"/usr/"):
            found.setdefault(reference.path.removeprefix(HOME + b"/"), set()).add(reference.kind)
    return {path: kind.pop() if len(kind) == 1 else kind for path, kind in found.items()}


def reference(name, path):
    (found,) = (each for each in inventory_of(name).paths if each.path == path)
    return found


@pytest.mark.parametrize("name", live.NAMES)
def test_nothing_in_it_is_unknown(name):
    assert dump_of(name).unknown == ()


UNIX_PATHS = {
    "unix_stream": {b"listen.sock": PathKind.SOCKET},
    "unix_pairs": {},
    "unix_datagram": {b"server.dgram": PathKind.SOCKET, b"client.dgram": PathKind.SOCKET},
    "unix_abstract": {},
    "unix_deleted": {
        b"deleted.sock": {PathKind.SOCKET, PathKind.DELETED_SOCKET},
        b"gone/server.dgram": PathKind.DELETED_SOCKET,
    },
    "unix_relative": {
        b"one": PathKind.DIRECTORY,
        b"two": PathKind.DIRECTORY,
        b"one/relative.sock": PathKind.SOCKET,
        b"two/relative.sock": PathKind.SOCKET,
        b"two/dotted.sock": PathKind.SOCKET,
    },
    "unix_seqpacket": {b"packets.sock": PathKind.SOCKET},
    "unix_pending": {b"pending.sock": PathKind.SOCKET},
    "unix_rights": {b"in-flight.sock": PathKind.SOCKET, b"in-flight.txt": PathKind.REGULAR},
    "unix_external": {b"outside.dgram": PathKind.EXTERNAL_SOCKET},
    "unix_odd_names": {
        b"new\nline.sock": PathKind.SOCKET,
        b"\xe9t\xe9/s\xff.sock": PathKind.SOCKET,
        b"space ": PathKind.SOCKET,
        b"l" * 94: PathKind.SOCKET,
        b"\xe9t\xe9/../up.sock": PathKind.SOCKET,
        b"plain.sock": PathKind.SOCKET,
    },
}
FILE_PATHS = {
    "ghosts": dict.fromkeys(
        (
            b"plain",
            b"mapped",
            b"twin-one",
            b"twin-two",
            b"sparse",
            b"lost-directory",
            b"lost-directory/inside",
        ),
        PathKind.GHOST_NAME,
    ),
    "shared_memory": {
        b"/dev/shm/psm_0123abcd": PathKind.REGULAR,
        b"/dev/shm/psm_unlinked": PathKind.GHOST_NAME,
    },
    "hard_links": {b"name-a": PathKind.REGULAR, b"name-b": PathKind.REGULAR},
    "fifos": {b"full.fifo": PathKind.FIFO, b"both.fifo": PathKind.FIFO, b"deleted.fifo": PathKind.GHOST_NAME},
    "append_log": dict.fromkeys((b"write-only.log", b"read-write.log", b"empty.log"), PathKind.REGULAR),
    "odd_names": {
        b"new\nline": PathKind.REGULAR,
        b"latin-1 \xe9\xff": PathKind.REGULAR,
        b"back\\slash \\n": PathKind.REGULAR,
        b"trap (deleted)": PathKind.REGULAR,
        "smörgåsbord \N{SNOWMAN}".encode(): PathKind.REGULAR,
        b" leading and trailing ": PathKind.REGULAR,
        b"tab\tescape\x1b[31m": PathKind.REGULAR,
        b"dir\xff\n": PathKind.DIRECTORY,
    },
    "nodes": {
        b"/dev/zero": PathKind.DEVICE,
        b"/dev/urandom": PathKind.DEVICE,
        b"dangling": PathKind.SYMLINK,
        b"/proc/1000/status": PathKind.PROC,
        b"/proc/1001/status": PathKind.PROC,
        b"/proc/sys/fs/file-max": PathKind.PROC,
    },
    "inotify": {b"/dev/shm/watched": PathKind.WATCHED, b"/dev/shm/watched/file": PathKind.WATCHED},
    "mappings": {b"data": PathKind.REGULAR},
    "memfds": {},
    "locks": dict.fromkeys((b"flocked", b"posix", b"ofd"), PathKind.REGULAR),
    "shared_table": {b"opened-after": PathKind.REGULAR},
    "sysv": {},
    "pidfds": {},
    "anonymous_files": {},
    "terminal": {b"/dev/pts/0": PathKind.DEVICE, b"/dev/pts/ptmx": PathKind.DEVICE},
}


@pytest.mark.parametrize(("name", "paths"), (UNIX_PATHS | FILE_PATHS).items(), ids=UNIX_PATHS | FILE_PATHS)
def test_the_paths_it_asks_for(name, paths):
    nameless = {path for path in kinds(name) if path.startswith(b"#")}  # O_TMPFILE's, by inode number
    assert {path: kind for path, kind in kinds(name).items() if path not in nameless} == paths
    assert len(nameless) == (name == "ghosts")


def test_only_a_listener_binds_the_name_that_its_accepted_sockets_carry():
    sockets = inventory_of("unix_stream").sockets
    bound = [each for each in sockets if each.bind_path]
    assert [each.socket.listening for each in bound] == [True]
    carrying = [each for each in sockets if each.socket.name == b"/srv/fixture/listen.sock"]
    assert len(carrying) == 3
    named_client = next(each for each in sockets if each.socket.name == b"/srv/fixture/client.sock")
    assert named_client.bind_path is None
    assert named_client.socket.shutdown is Shutdown.WRITE
    assert named_client.peer.name == b"/srv/fixture/listen.sock"


def test_a_child_alone_holds_what_the_parent_closed():
    (client,) = (
        each for each in inventory_of("unix_stream").sockets if {user.pid for user in each.users} == {1001}
    )
    assert client.queued_bytes == len(b"to the client, twice")
    assert client.peer.name == b"/srv/fixture/listen.sock"


def test_messages_keep_their_borders():
    lengths = {}
    dump = dump_of("unix_pairs")
    for packet in dump.packets:
        lengths.setdefault(dump.files[packet.socket].type, []).append(packet.length)
    assert sum(lengths[SocketType.STREAM]) == 10_000
    assert sorted(lengths[SocketType.DGRAM]) == [3, 4, 10]
    assert lengths[SocketType.SEQPACKET] == [8]


def test_abstract_names_hold_any_byte():
    names = {each.socket.name for each in inventory_of("unix_abstract").sockets if each.socket.listening}
    assert names == {b"\0llmux-plain", b"\0odd\0\xff\n\x01name", b"\0" + b"l" * 107}
    assert all(each.bind_path is None for each in inventory_of("unix_abstract").sockets)


def test_a_pending_client_waits_for_the_listener():
    client, listener = sorted(inventory_of("unix_pending").sockets, key=lambda each: each.socket.listening)
    assert client.peer == listener.socket


def test_files_in_flight_are_held_by_whoever_can_receive_them():
    (packet, other) = dump_of("unix_rights").packets
    in_flight = [dump_of("unix_rights").files[file] for file in (*packet.rights, *other.rights)]
    assert [type(file).__name__ for file in in_flight] == ["RegularFile", "Pipe", "UnixSocket"]
    (holder,) = reference("unix_rights", HOME + b"/in-flight.txt").users
    assert (holder.pid, holder.role) == (1000, Role.IN_FLIGHT)


def test_an_external_peer_is_asked_for():
    (need,) = inventory_of("unix_external").needs
    assert (need.kind, need.what) == (NeedKind.EXTERNAL_PEER, "/srv/fixture/outside.dgram")
    (client,) = (each for each in inventory_of("unix_external").sockets if not each.socket.external)
    assert client.peer.name == b"/srv/fixture/outside.dgram"


def test_link_remaps_stand_in_for_lost_names():
    found = kinds("link_remap")
    lost = sorted(path for path, kind in found.items() if kind is PathKind.LINKED_NAME)
    remaps = sorted(path for path, kind in found.items() if kind is PathKind.LINK_REMAP)
    assert len(found) == 4
    assert lost[0].startswith(b"/dev/shm/sem.")
    assert lost[1] == b"lost-name"
    assert remaps[0].startswith(b"/dev/shm/link_remap.")
    assert remaps[1].startswith(b"link_remap.")
    semaphore = reference("link_remap", remaps[0])
    assert (semaphore.size, semaphore.mode) == (32, 0o100600)
    assert {user.role for user in semaphore.users} == {Role.MAPPING}


def test_ghosts_bring_their_size_and_owner_and_twins_are_one():
    dump = dump_of("ghosts")
    ghosts = {}
    for remap in dump.remaps:
        assert remap.type is RemapType.GHOST
        ghosts[dump.files[remap.original].name.removeprefix(HOME + b"/")] = dump.ghosts[remap.remap_id]
    assert ghosts[b"twin-one"] is ghosts[b"twin-two"]
    assert (ghosts[b"plain"].mode, ghosts[b"plain"].size) == (0o100640, 14)
    assert ghosts[b"sparse"].size == 500_004
    assert ghosts[b"lost-directory"].mode == 0o40750
    (task,) = (task for task in dump.tasks if task.pid == 1001)
    assert dump.files[task.cwd].name == HOME + b"/lost-directory"


def test_a_fifo_brings_its_data():
    dump = dump_of("fifos")
    by_pipe = {data.pipe_id: data.length for data in dump.pipe_data}
    waiting = {
        dump.files[file.regular_file].name: by_pipe.get(file.pipe_id)
        for file in dump.files.values()
        if isinstance(file, Fifo)
    }
    assert waiting == {
        HOME + b"/full.fifo": len(b"waiting in the fifo"),
        HOME + b"/both.fifo": 0,
        HOME + b"/deleted.fifo": len(b"lost"),
    }


def test_a_log_opened_to_append_alone_may_have_any_size():
    assert reference("append_log", HOME + b"/write-only.log").size is None
    assert reference("append_log", HOME + b"/read-write.log").size == 7
    assert reference("append_log", HOME + b"/empty.log").size == 0


def test_a_dead_process_of_proc_asks_for_its_id():
    assert 1001 in inventory_of("nodes").ids
    assert 1001 not in {task.pid for task in dump_of("nodes").tasks}


def test_tcp_needs_its_address_and_its_ports():
    inventory = inventory_of("inet")
    listening = {
        (each.socket.source, each.socket.source_port, each.socket.backlog)
        for each in inventory.ports
        if each.socket.listening
    }
    assert listening == {("127.0.0.1", 8001, 11), ("0.0.0.0", 8002, 12), ("::1", 8003, 13), ("::", 8004, 14)}
    assert {each.socket.source_port for each in inventory.ports} == {8001, 8002, 8003, 8004, 9001, 9002}
    assert {
        (each.socket.source_port, each.socket.v6only) for each in inventory.ports if each.socket.family == 10
    } == {(8003, True), (8004, False)}
    assert all(each.socket.reuseaddr for each in inventory.ports if each.socket.listening)
    assert len(inventory.connections) == 4
    assert {need.kind for need in inventory.needs} == {NeedKind.ESTABLISHED_TCP}
    assert sorted(queue.received for queue in dump_of("inet").tcp_queues) == [0, 0, 77, 1000]


def test_self_contained_files_ask_for_nothing():
    files = dump_of("anonymous_files").files.values()
    assert {type(file) for file in files} >= {EventFd, Epoll, SignalFd, TimerFd, NetlinkSocket}
    assert inventory_of("anonymous_files").needs == ()


def test_a_terminal_is_a_pair():
    terminals = [file for file in dump_of("terminal").files.values() if isinstance(file, Terminal)]
    names = {dump_of("terminal").files[file.regular_file].name for file in terminals}
    assert names == {b"/dev/pts/0", b"/dev/pts/ptmx"}
    assert sorted(file.terminal.master for file in terminals) == [False, True]
    assert inventory_of("terminal").needs == ()


def test_locks_have_their_kind_and_range():
    locks = {lock.kind: (lock.pid, lock.start, lock.length) for lock in dump_of("locks").locks}
    by_posix, by_flock, by_description = 1, 2, 4
    assert locks[by_posix] == (1000, 200, 100)
    assert locks[by_flock][1] == 0
    assert locks[by_description][1:] == (10, 20)
    assert [need.kind for need in inventory_of("locks").needs] == [NeedKind.FILE_LOCK] * 3


def test_system_v_shared_memory():
    segments = {
        segment.key: (segment.size, segment.mode & 0o777) for segment in dump_of("sysv").sysv_segments
    }
    assert segments == {0x11AA: (10_000, 0o640), 0x22BB: (4096, 0o600)}
    (task,) = dump_of("sysv").tasks
    assert MappingKind.SYSV in {mapping.kind for mapping in task.mappings}


def test_a_shared_descriptor_table_is_one():
    parent, child = dump_of("shared_table").tasks
    assert parent.descriptors is child.descriptors
    users = reference("shared_table", HOME + b"/opened-after").users
    assert users == (User(1000, Role.FD, users[0].number), User(1001, Role.FD, users[0].number))


def test_every_thread_of_a_filtered_task_counts():
    (task,) = dump_of("seccomp_filter").tasks
    assert task.seccomp is SeccompMode.FILTER
    assert len(task.threads) == 2


def test_shared_memory_is_used_by_all_who_map_it():
    ring = reference("shared_memory", b"/dev/shm/psm_0123abcd")
    assert ring.size == 8 << 20
    assert {user.pid for user in ring.users if user.role is Role.MAPPING} == {1000, 1001}


def test_the_tiny_engine_has_what_makes_vllm_hard():
    check_engine("tiny_engine", sockets=3, log=b"/root/.cache/llmux-tiny/log/8001.log")
    regular = {each.path for each in inventory_of("tiny_engine").paths if each.kind is PathKind.REGULAR}
    assert any(path.endswith(b"/step.pyc") for path in regular)


def test_vllm_has_the_same_and_more_of_it():
    check_engine("vllm", sockets=6, log=b"/srv/fixture/output.log")
    compiled = [each for each in inventory_of("vllm").paths if each.path.endswith(b".main.so")]
    assert len(compiled) > 5
    assert all(each.path.startswith(b"/root/.cache/vllm/torch_compile_cache/") for each in compiled)
    assert len(dump_of("vllm").tasks) == 4
    assert len(inventory_of("vllm").ids) > 60


def check_engine(name, sockets, log):
    inventory, dump = inventory_of(name), dump_of(name)
    bound = [each for each in inventory.sockets if each.bind_path]
    assert len(bound) == sockets
    assert all(each.bind_path.startswith(b"/tmp/") and each.socket.listening for each in bound)
    kinds = {each.kind for each in inventory.paths}
    assert {PathKind.LINK_REMAP, PathKind.LINKED_NAME} <= kinds
    assert 8001 in {each.socket.source_port for each in inventory.ports if each.socket.listening}
    assert any(each.path.startswith(b"/dev/shm/psm_") for each in inventory.paths)
    assert reference(name, log).size is None
    logs = [file for file in dump.files.values() if isinstance(file, RegularFile) and file.name == log]
    assert logs
    assert {task.seccomp for task in dump.tasks} == {SeccompMode.FILTER}
    assert min(inventory.ids) == 1000
