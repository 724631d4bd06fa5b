"""What two dumps differ in, by meaning: ids that differ each time (file ids, inodes) are left out of the comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmux.criu_images import _words as words
from llmux.criu_images._counted import counted
from llmux.criu_images._details import details_of
from llmux.criu_images._inventory import Inventory, PathReference, PortReference, SocketReference
from llmux.criu_images._paths import escape
from llmux.criu_images._records import Dump, File, InetSocket, Pid, Pipe, RegularFile, Task, UnixSocket

VERSION = 1


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that only one of the dumps has; what changed is gone from the first and new in the second."""

    kind: str
    what: str
    number: int
    """How many more of it there are: negative where the first has more."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two dumps, and what its processes are called."""

    dump: Dump
    inventory: Inventory
    names: dict[Pid, str]

    def called(self, pid: Pid) -> str:
        return self.names.get(pid, "nobody")


def find_changes(
    first: tuple[Dump, Inventory], second: tuple[Dump, Inventory], *, ignore_pids: bool = False
) -> tuple[Change, ...]:
    """Compare two dumps, kind by kind.

    With `ignore_pids`, processes are told apart by their places in the tree and ids are not compared: a program that was
    started again has others.
    """
    before_all, after_all = (_side(*found, ignore_pids=ignore_pids) for found in (first, second))
    return tuple(
        Change(kind, what, after[what] - before[what])
        for kind, describe in _KINDS.items()
        if not (ignore_pids and kind == "id")
        for before, after in [(Counter(describe(before_all)), Counter(describe(after_all)))]
        for what in sorted(before.keys() | after.keys())
        if before[what] != after[what]
    )


def _side(dump: Dump, inventory: Inventory, *, ignore_pids: bool) -> _Side:
    return _Side(
        dump, inventory, _places(dump) if ignore_pids else {task.pid: str(task.pid) for task in dump.tasks}
    )


def _places(dump: Dump) -> dict[Pid, str]:
    """Call each process by its place below its parent: 1, and its children 1.1 and 1.2."""
    children: Counter[Pid] = Counter()
    places: dict[Pid, str] = {}
    for task in dump.tasks:  # Parents come before their children.
        children[task.ppid] += 1
        above = f"{places[task.ppid]}." if task.ppid in places else ""
        places[task.pid] = f"{above}{children[task.ppid]}"
    return places


def render_changes(changes: tuple[Change, ...]) -> str:
    """Write a line for each, as diff(1) marks them."""
    lines = [
        f"{'+' if item.number > 0 else '-'} {item.kind}  {item.what}{_times(item.number)}" for item in changes
    ]
    return "\n".join(lines or ["no difference"])


def _times(number: int) -> str:
    return "" if abs(number) == 1 else f"  ({abs(number)} times)"


def render_changes_json(changes: tuple[Change, ...]) -> str:
    """Write the same for programs."""
    found = [{"kind": item.kind, "what": item.what, "number": item.number} for item in changes]
    return json.dumps({"version": VERSION, "changes": found}, indent=2)


def _tasks(side: _Side) -> Iterator[str]:
    for task in side.dump.tasks:
        threads = counted(len(task.threads), "thread")
        parent = f"parent {side.called(task.ppid)}, " if task.ppid else ""
        yield f"{_named(side, task)} {parent}{threads}, {words.task_state(task.state)}"


def _named(side: _Side, task: Task) -> str:
    return f"{task.comm}({side.called(task.pid)})"


def _descriptors(side: _Side) -> Iterator[str]:
    for task in side.dump.tasks:
        name = _named(side, task)
        for found in task.descriptors:
            yield f"{name} fd {found.fd}  {_open(side.dump.files[found.file])}"


def _open(file: File) -> str:
    match file:
        case RegularFile():
            return f"{escape(file.name)} {words.open_flags(file.flags)}"
        case UnixSocket():
            return f"unixsk {words.unix_address(file)}"
        case InetSocket():
            return f"inetsk {words.inet_address(file.source, file.source_port)}"
        case Pipe():  # Its details are a number that is new each time.
            return "pipe"
        case _:
            # Without the files: what is behind an epoll's descriptors is compared where they are.
            return f"{words.file_kind(file)} {details_of(file, {})}".rstrip()


def _paths(side: _Side) -> Iterator[str]:
    return map(_path, side.inventory.paths)


def _path(item: PathReference) -> str:
    facts = (
        item.kind.value,
        "" if item.size is None else counted(item.size, "byte"),
        "" if item.mode is None else f"mode 0{item.mode:o}",
        "" if item.build_id is None else f"build-id {item.build_id.hex()}",
    )
    return f"{escape(item.path)}  {', '.join(filter(None, facts))}"


def _sockets(side: _Side) -> Iterator[str]:
    return map(_socket, side.inventory.sockets)


def _socket(item: SocketReference) -> str:
    socket = item.socket
    state = "EXTERN" if socket.external else words.socket_state(socket.state)
    return f"{words.socket_type(socket.type)} {state} {words.unix_address(socket)}"


def _inet(side: _Side) -> Iterator[str]:
    return map(_port, (*side.inventory.ports, *side.inventory.connections))


def _port(item: PortReference) -> str:
    socket = item.socket
    address = words.inet_address(socket.source, socket.source_port)
    options = {
        "v6only": socket.v6only,
        "reuseaddr": socket.reuseaddr,
        "reuseport": socket.reuseport,
        "freebind": socket.freebind,
    }
    device, mark = socket.options.device, socket.options.mark
    facts = (
        *(name for name, given in options.items() if given),
        "" if device is None else f"device {escape(device)}",
        "" if mark is None else f"mark {mark:#x}",
        f"filter of {socket.options.filter_length}" if socket.options.filter_length else "",
    )
    said = ", ".join(filter(None, facts))
    return f"{words.protocol(socket)} {words.socket_state(socket.state)} {address}{said and f'  {said}'}"


def _namespaces(side: _Side) -> Iterator[str]:
    for found in side.inventory.namespaces:
        yield f"{found.kind.value} of {', '.join(map(side.called, found.tasks))}"
    for mount in side.dump.mounts:
        yield f"mount {escape(mount.mountpoint)} from {escape(mount.source)}"
    for name in side.dump.host_names:
        yield f"host name {name.node}"


def _ids(side: _Side) -> Iterator[str]:
    return map(str, side.inventory.ids)


def _needs(side: _Side) -> Iterator[str]:
    return (f"{need.kind.value}  {need.what}" for need in side.inventory.needs)


_KINDS: dict[str, Callable[[_Side], Iterator[str]]] = {
    "task": _tasks,
    "descriptor": _descriptors,
    "path": _paths,
    "unix": _sockets,
    "inet": _inet,
    "namespace": _namespaces,
    "id": _ids,
    "need": _needs,
}
