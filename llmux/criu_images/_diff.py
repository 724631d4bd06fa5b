"""What two dumps differ in, by meaning: ids that differ each time (file ids, inodes) are left out of the comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmux.criu_images import _diff_state as state
from llmux.criu_images import _words as words
from llmux.criu_images._counted import counted
from llmux.criu_images._details import details_of
from llmux.criu_images._diff_side import Side, sides_of
from llmux.criu_images._enums import Shutdown
from llmux.criu_images._inventory import Inventory, PathReference, PortReference, SocketReference
from llmux.criu_images._paths import escape
from llmux.criu_images._records import Dump, File, InetSocket, Pipe, RegularFile, UnixSocket

VERSION = 1


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that only one of the dumps has; what changed is gone from the first and new in the second."""

    kind: str
    what: str
    number: int
    """How many more of it there are: negative where the first has more."""


def find_changes(
    first: tuple[Dump, Inventory], second: tuple[Dump, Inventory], *, ignore_pids: bool = False
) -> tuple[Change, ...]:
    """Compare two dumps, kind by kind.

    With `ignore_pids`, processes are told apart by their places in the tree and ids are not compared: a program that was
    started again has others.
    """
    before_all, after_all = sides_of(first, second, ignore_pids=ignore_pids)
    return tuple(
        Change(kind, what, after[what] - before[what])
        for kind, describe in _KINDS.items()
        if not (ignore_pids and kind == "id")
        for before, after in [(Counter(describe(before_all)), Counter(describe(after_all)))]
        for what in sorted(before.keys() | after.keys())
        if before[what] != after[what]
    )


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


def _tasks(side: Side) -> Iterator[str]:
    for task in side.dump.tasks:
        threads = counted(len(task.threads), "thread")
        parent = f"parent {side.called(task.ppid)}, " if task.ppid else ""
        yield f"{side.named(task)} {parent}{threads}, {words.task_state(task.state)}"


def _descriptors(side: Side) -> Iterator[str]:
    for task in side.dump.tasks:
        name = side.named(task)
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


def _paths(side: Side) -> Iterator[str]:
    return map(_path, side.inventory.paths)


def _path(item: PathReference) -> str:
    facts = (
        item.kind.value,
        "" if item.size is None else counted(item.size, "byte"),
        "" if item.mode is None else f"mode 0{item.mode:o}",
        "" if item.build_id is None else f"build-id {item.build_id.hex()}",
    )
    return f"{escape(item.path)}  {', '.join(filter(None, facts))}"


def _sockets(side: Side) -> Iterator[str]:
    return map(_socket, side.inventory.sockets)


def _socket(item: SocketReference) -> str:
    socket = item.socket
    called = "EXTERN" if socket.external else words.socket_state(socket.state)
    facts = (
        "" if socket.shutdown is Shutdown.NONE else f"shut down {words.member(socket.shutdown)}",
        counted(item.queued_bytes, "byte") + " queued" if item.queued_bytes else "",
        f"mode 0{socket.mode:o}" if socket.mode else "",
        f"owner {socket.uid}:{socket.gid}" if socket.uid or socket.gid else "",
    )
    said = ", ".join(filter(None, facts))
    return f"{words.socket_type(socket.type)} {called} {words.unix_address(socket)}{said and f'  {said}'}"


def _inet(side: Side) -> Iterator[str]:
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
    facts = (
        *(name for name, given in options.items() if given),
        "" if socket.shutdown is Shutdown.NONE else f"shut down {words.member(socket.shutdown)}",
        state.socket_options(socket.options),
    )
    said = ", ".join(filter(None, facts))
    to = (
        f" to {words.inet_address(socket.destination, socket.destination_port)}"
        if socket.destination_port
        else ""
    )
    return f"{words.protocol(socket)} {words.socket_state(socket.state)} {address}{to}{said and f'  {said}'}"


def _ids(side: Side) -> Iterator[str]:
    return map(str, side.inventory.ids)


def _needs(side: Side) -> Iterator[str]:
    return (f"{need.kind.value}  {need.what}" for need in side.inventory.needs)


_KINDS: dict[str, Callable[[Side], Iterator[str]]] = {
    "task": _tasks,
    "descriptor": _descriptors,
    "path": _paths,
    "unix": _sockets,
    "inet": _inet,
    "socket": state.raw_sockets,
    "right": state.rights,
    "limit": state.limits,
    "timer": state.timers,
    "cgroup": state.control_groups,
    "namespace": state.namespaces,
    "id": _ids,
    "need": _needs,
}
