"""One of the two dumps that are compared, and what its processes are called. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from llmux.criu_images._inventory import Inventory
from llmux.criu_images._records import Dump, Pid, Task


@dataclass(frozen=True, slots=True)
class Side:
    """A dump with names that stay the same where nothing differs."""

    dump: Dump
    inventory: Inventory
    names: dict[Pid, str]
    shared: frozenset[str] = frozenset()
    """What the processes are called that both dumps have."""

    def called(self, pid: Pid) -> str:
        return self.names.get(pid, "nobody")

    def named(self, task: Task) -> str:
        return f"{task.comm}({self.called(task.pid)})"

    def all_named(self) -> frozenset[str]:
        return frozenset(map(self.named, self.dump.tasks))


def sides_of(
    first: tuple[Dump, Inventory], second: tuple[Dump, Inventory], *, ignore_pids: bool
) -> tuple[Side, Side]:
    """Name processes by their ids, or with `ignore_pids` by their places in the tree."""
    before, after = (_side(*found, ignore_pids=ignore_pids) for found in (first, second))
    shared = before.all_named() & after.all_named()
    return replace(before, shared=shared), replace(after, shared=shared)


def _side(dump: Dump, inventory: Inventory, *, ignore_pids: bool) -> Side:
    return Side(
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
