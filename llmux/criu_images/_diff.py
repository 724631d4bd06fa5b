"""What two dumps differ in, by meaning: ids that differ each time (file ids, inodes) are left out of the comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmux.criu_images import _words as words
from llmux.criu_images._counted import counted
from llmux.criu_images._inventory import Inventory, PathReference, SocketReference
from llmux.criu_images._paths import escape
from llmux.criu_images._records import Dump, Task

VERSION = 1


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that only one of the dumps has; what changed is gone from the first and new in the second."""

    kind: str
    what: str
    number: int
    """How many more of it there are: negative where the first has more."""


def find_changes(first: tuple[Dump, Inventory], second: tuple[Dump, Inventory]) -> tuple[Change, ...]:
    """Compare two dumps, kind by kind."""
    return tuple(
        Change(kind, what, after[what] - before[what])
        for kind, describe in _KINDS.items()
        for before, after in [(Counter(describe(*first)), Counter(describe(*second)))]
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


def _tasks(dump: Dump, _: Inventory) -> Iterator[str]:
    return map(_task, dump.tasks)


def _task(task: Task) -> str:
    threads = counted(len(task.threads), "thread")
    return f"{task.comm}({task.pid}) parent {task.ppid}, {threads}, {words.task_state(task.state)}"


def _paths(_: Dump, inventory: Inventory) -> Iterator[str]:
    return map(_path, inventory.paths)


def _path(item: PathReference) -> str:
    facts = (
        item.kind.value,
        "" if item.size is None else counted(item.size, "byte"),
        "" if item.mode is None else f"mode 0{item.mode:o}",
        "" if item.build_id is None else f"build-id {item.build_id.hex()}",
    )
    return f"{escape(item.path)}  {', '.join(filter(None, facts))}"


def _sockets(_: Dump, inventory: Inventory) -> Iterator[str]:
    return map(_socket, inventory.sockets)


def _socket(item: SocketReference) -> str:
    socket = item.socket
    state = "EXTERN" if socket.external else words.socket_state(socket.state)
    return f"{words.socket_type(socket.type)} {state} {words.unix_address(socket)}"


def _inet(_: Dump, inventory: Inventory) -> Iterator[str]:
    for item in (*inventory.ports, *inventory.connections):
        socket = item.socket
        address = words.inet_address(socket.source, socket.source_port)
        yield f"{words.protocol(socket)} {words.socket_state(socket.state)} {address}"


def _ids(_: Dump, inventory: Inventory) -> Iterator[str]:
    return map(str, inventory.ids)


def _needs(_: Dump, inventory: Inventory) -> Iterator[str]:
    return (f"{need.kind.value}  {need.what}" for need in inventory.needs)


_KINDS: dict[str, Callable[[Dump, Inventory], Iterator[str]]] = {
    "task": _tasks,
    "path": _paths,
    "unix": _sockets,
    "inet": _inet,
    "id": _ids,
    "need": _needs,
}
