"""Real dumps against what the kernel said of the same trees: two sources that know nothing of each other."""

from __future__ import annotations

import pytest

from llmux.criu_images._enums import MappingKind, SeccompMode, SocketState, SocketType, TaskState
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    Fifo,
    InetSocket,
    Memfd,
    NamespaceFile,
    NetlinkSocket,
    PacketSocket,
    Pid,
    Pipe,
    RegularFile,
    Terminal,
    TunFile,
    UnixSocket,
)
from llmux.criu_images._users import Role, User
from llmux.criu_images._words import file_kind

from . import live
from .live import dump_of, inventory_of

# CRIU writes a zombie as dead.
TASK_STATES = {"Z": TaskState.DEAD, "T": TaskState.STOPPED}
OF_FILES = {MappingKind.FILE_PRIVATE, MappingKind.FILE_SHARED}
STREAMS = {SocketType.STREAM, SocketType.SEQPACKET}
UNCONNECTED = {SocketState.LISTEN.value, SocketState.CLOSE.value}
ANONYMOUS = {
    "anon_inode:[eventfd]": "eventfd",
    "anon_inode:[eventpoll]": "eventpoll",
    "anon_inode:[signalfd]": "signalfd",
    "anon_inode:[timerfd]": "timerfd",
    "anon_inode:inotify": "inotify",
    "anon_inode:[fanotify]": "fanotify",
    "anon_inode:[pidfd]": "pidfd",
}

pytestmark = pytest.mark.parametrize("name", live.NAMES)


def tasks_of(name):
    """Pair each decoded task with what /proc said of it."""
    tasks = {task.pid: task for task in dump_of(name).tasks}
    seen = {task["pid"]: task for task in live.live(name)["tasks"]}
    assert tasks.keys() == seen.keys()
    return [(tasks[pid], seen[pid]) for pid in sorted(tasks)]


def living(name):
    return [(task, seen) for task, seen in tasks_of(name) if task.state is not TaskState.DEAD]


def test_processes(name):
    root = live.live(name)["root"]
    assert dump_of(name).root_task == root
    for task, seen in tasks_of(name):
        assert task.ppid == (0 if task.pid == root else seen["ppid"])
        assert (task.pgid, task.sid) == (seen["pgid"], seen["sid"])
        assert task.comm == escape(live.path(seen["comm"]))
        assert task.state is TASK_STATES.get(seen["state"], TaskState.ALIVE)
        assert sorted(task.threads) == seen["threads"]
        if task.state is not TaskState.DEAD:
            assert task.seccomp is SeccompMode(seen["seccomp"])


def test_exe_cwd_and_root(name):
    dump = dump_of(name)
    for task, seen in living(name):
        for file, link in ((task.exe, seen["exe"]), (task.cwd, seen["cwd"]), (task.root, seen["root"])):
            assert dump.files[file].name == live.path(link["path"])


def test_descriptors(name):
    dump = dump_of(name)
    for task, seen in living(name):
        descriptors = {descriptor.fd: dump.files[descriptor.file] for descriptor in task.descriptors}
        assert descriptors.keys() == set(map(int, seen["fds"]))
        for fd, file in descriptors.items():
            check_file(dump, file, seen["fds"][str(fd)])


def check_file(dump, file, link):
    target = link["path"]
    match file:
        case RegularFile():
            assert file.name == live.path(target) or file.external
            assert (file.mode, file.pos) == (link["mode"], link["pos"])
            assert file.size in {None, link["size"]}
            assert file.flags == link["flags"] & ~0o2000000  # O_CLOEXEC is the descriptor's, not the file's
        case Memfd():
            assert b"/memfd:" + file.name == live.path(target)
            assert file.size == link["size"]
        case Terminal():
            assert target.startswith(("/dev/pt", "/dev/tty"))
        case TunFile():
            assert (target, link["info"]["iff"].encode()) == ("/dev/net/tun", file.device)
        case NamespaceFile():
            assert target.startswith(("uts:[", "ipc:["))
        case Fifo():
            check_file(dump, dump.files[file.regular_file], {**link, "size": None})
        case _:
            check_nameless(file, target)


def check_nameless(file, target):
    match file:
        case UnixSocket() | InetSocket() | NetlinkSocket():
            assert target == f"socket:[{file.inode}]"
        case PacketSocket():
            assert target.startswith("socket:[")
        case Pipe():
            assert target == f"pipe:[{file.pipe_id}]"
        case _:
            assert file_kind(file) == ANONYMOUS[target]


def test_mappings(name):
    dump = dump_of(name)
    names = names_by_inode(name)
    for task, seen in living(name):
        mapped = {mapping.start: mapping for mapping in task.mappings if mapping.kind in OF_FILES}
        areas = {area["start"]: area for area in seen["maps"] if is_file(area)}
        assert mapped.keys() == areas.keys()
        for start, mapping in mapped.items():
            area = areas[start]
            assert dump.files[mapping.file].name in names[area["inode"]]
            assert (mapping.end, mapping.offset) == (area["end"], area["offset"])
            assert (mapping.kind is MappingKind.FILE_SHARED) == (area["protection"][3] == "s")
            assert mapping.protection == protection_of(area)


def names_by_inode(name):
    """Collect the names under which each inode is open or mapped: CRIU writes it once, by one of them."""
    names = {}
    for task in live.live(name)["tasks"]:
        for link in (*task.get("fds", {}).values(), *task.get("maps", ())):
            names.setdefault(link["inode"], set()).add(live.path(link["path"]))
    return names


def protection_of(area):
    return sum(bit for bit, letter in ((1, "r"), (2, "w"), (4, "x")) if letter in area["protection"][:3])


def is_file(area):
    return not area["path"].startswith(("/memfd:", "/dev/zero", "/SYSV", "/[aio]", "socket:["))


def test_unix_sockets(name):
    sockets = {file.inode: file for file in dump_of(name).files.values() if isinstance(file, UnixSocket)}
    seen = {each["inode"]: each for each in live.live(name)["unix"] if each["inode"]}
    assert sockets.keys() == seen.keys()
    # Until a connection is accepted, its peer is a socket without an inode; CRIU writes the listener in its stead.
    waiting_for = {client: inode for inode, told in seen.items() for client in told["pending"]}
    for inode, socket in sockets.items():
        told = seen[inode]
        assert socket.name == live.path(told["name"])
        assert socket.type is SocketType(told["type"])
        assert socket.peer == (waiting_for.get(inode) or told["peer"] or None)
        if not socket.external:
            assert socket.state is SocketState(told["state"])
            assert socket.shutdown.value == told["shutdown"]
        if socket.listening:
            assert socket.backlog == told["send"]


def test_queues_of_unix_sockets(name):
    seen = {each["inode"]: each for each in live.live(name)["unix"]}
    dump = dump_of(name)
    for reference in inventory_of(name).sockets:
        told = seen[reference.socket.inode]
        packets = [packet.length for packet in dump.packets if packet.socket == reference.socket.id]
        assert (reference.queued_packets, reference.queued_bytes) == (len(packets), sum(packets))
        if reference.socket.external:
            continue
        if reference.socket.type in STREAMS and not reference.socket.listening:
            assert sum(packets) == told["receive"]
        elif reference.socket.type is SocketType.DGRAM:  # the kernel tells the first message's length
            assert (packets[0] if packets else 0) == told["receive"]


def test_holders_of_sockets(name):
    held = {
        (int(fd["path"][8:-1]), Pid(task["pid"]), int(number))
        for task in live.live(name)["tasks"]
        for number, fd in task.get("fds", {}).items()
        if fd["path"].startswith("socket:[")
    }
    inventory = inventory_of(name)
    referred = {
        (reference.socket.inode, user.pid, user.number)
        for reference in (*inventory.sockets, *inventory.ports, *inventory.connections)
        for user in reference.users
        if user.role is Role.FD
    }
    known = {reference.socket.inode for reference in inventory.sockets} | {
        reference.socket.inode for reference in (*inventory.ports, *inventory.connections)
    }
    assert referred == {holder for holder in held if holder[0] in known}


def test_inet_sockets(name):
    sockets = {file.inode: file for file in dump_of(name).files.values() if isinstance(file, InetSocket)}
    seen = {each["inode"]: each for each in live.live(name)["inet"] if each["inode"]}
    # A socket that is neither bound nor connected is in no table of /proc/net.
    named = {inode for inode, each in sockets.items() if each.source_port and each.type is not SocketType.RAW}
    assert seen.keys() == named
    for inode, told in seen.items():
        socket = sockets[inode]
        assert (socket.source, socket.source_port) == live.address(told["local"])
        assert (socket.destination, socket.destination_port) == live.address(told["remote"])
        assert socket.state is SocketState(told["state"])
        assert (socket.protocol == 6) == told["protocol"].startswith("tcp")


def test_bytes_waiting_in_tcp_connections(name):
    queues = {queue.inode: queue for queue in dump_of(name).tcp_queues}
    connected = [
        each
        for each in live.live(name)["inet"]
        if each["inode"] and each["protocol"].startswith("tcp") and each["state"] not in UNCONNECTED
    ]
    closed = dump_of(name).tcp_close
    assert queues.keys() == (set() if closed else {each["inode"] for each in connected})
    for each in connected:
        if closed or each["state"] != SocketState.ESTABLISHED.value:
            continue  # The kernel counts the ends of streams, too.
        assert (queues[each["inode"]].received, queues[each["inode"]].unsent) == (
            each["receive"],
            each["send"],
        )


def test_ids(name):
    ids = {
        number
        for task in live.live(name)["tasks"]
        for number in (task["pid"], task["pgid"], task["sid"], *task["threads"])
    }
    if "pid" in live.owned(name):  # No other process can have them.
        assert inventory_of(name).ids == ()
        return
    assert ids <= set(inventory_of(name).ids)
    threads = {tid for task in live.live(name)["tasks"] for tid in task["threads"] if tid != task["pid"]}
    assert set(inventory_of(name).threads) == threads


def test_each_path_in_use_is_in_the_inventory_with_its_users(name):
    users = {}
    for reference in inventory_of(name).paths:
        users.setdefault(reference.path, set()).update(reference.users)
    names, handed_in = names_by_inode(name), descriptors_handed_in(name)
    for task in live.live(name)["tasks"]:
        for link, user in uses(task):
            if user in handed_in:
                continue
            known_as = {live.path(link["path"]), *names.get(link["inode"], ())}
            assert any(user in users.get(path, ()) for path in known_as)


def descriptors_handed_in(name):
    """Collect the descriptors of what a restore is given (`--external`), of which the dump knows no path."""
    dump = dump_of(name)
    return {
        User(task.pid, Role.FD, descriptor.fd)
        for task in dump.tasks
        for descriptor in task.descriptors
        if is_handed_in(dump.files[descriptor.file])
    }


def is_handed_in(file):
    return (isinstance(file, RegularFile) and file.external) or (
        isinstance(file, Terminal) and file.regular_file is None
    )


def uses(task):
    """Yield each link to a path that a task has, and as what; the lowest mapping stands for all of the same file."""
    pid = Pid(task["pid"])
    for role in (Role.EXE, Role.CWD, Role.ROOT):
        if role.value in task:
            yield task[role.value], User(pid, role)
    for number, fd in task.get("fds", {}).items():
        if fd["path"].startswith("/") and not fd["path"].startswith("/memfd:"):
            yield fd, User(pid, Role.FD, int(number))
    lowest = {}
    for area in task.get("maps", ()):
        if is_file(area):
            lowest.setdefault(area["inode"], area)
    for area in lowest.values():
        yield area, User(pid, Role.MAPPING, area["start"])
