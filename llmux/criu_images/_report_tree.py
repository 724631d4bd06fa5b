"""`show --tree`: each process under its parent, with its threads, session and group, namespaces, files and sockets."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from llmux.criu_images import _words as words
from llmux.criu_images._counted import counted
from llmux.criu_images._enums import SeccompMode, TaskState
from llmux.criu_images._inventory import Inventory, SocketReference
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    Dump,
    Fifo,
    File,
    FileId,
    InetSocket,
    Memfd,
    Notify,
    Pid,
    Pipe,
    RegularFile,
    Task,
    Terminal,
    UnixSocket,
)

VERSION = 1

_PROT_EXEC = 4


@dataclass(frozen=True, slots=True)
class _View:
    dump: Dump
    comms: dict[Pid, str]
    sockets: dict[FileId, SocketReference]

    def what(self, file: File) -> str:
        """Say in a few words what a descriptor leads to."""
        match file:
            case RegularFile():
                text = escape(file.name)
            case UnixSocket():
                text = self._unix(file)
            case InetSocket():
                text = _inet(file)
            case Memfd():
                text = f"memfd {escape(file.name)}"
            case Pipe():
                text = f"pipe {file.pipe_id:#x}"
            case Fifo() | Terminal():
                text = f"{words.file_kind(file)} {self.name_of(file.regular_file)}".rstrip()
            case Notify():
                watched = (escape(watch.path) for watch in file.watches if watch.path is not None)
                text = " ".join((words.file_kind(file), *watched))
            case _:
                text = words.file_kind(file)
        return text

    def name_of(self, file: FileId | None) -> str:
        found = None if file is None else self.dump.files.get(file)
        return escape(found.name) if isinstance(found, RegularFile) else ""

    def _unix(self, socket: UnixSocket) -> str:
        state = "EXTERN" if socket.external else words.socket_state(socket.state)
        text = f"unix {words.socket_type(socket.type)} {state} {words.unix_address(socket)}"
        reference = self.sockets[socket.id]
        if socket.peer is None:
            return text
        if reference.peer is None:
            return f"{text}  peer {socket.peer} outside the dump"
        held_by = words.holders(self.sockets[reference.peer.id].users, self.comms) or "nobody"
        return f"{text}  peer {words.unix_address(reference.peer)} {held_by}"


def _inet(socket: InetSocket) -> str:
    source = words.inet_address(socket.source, socket.source_port)
    text = f"{words.protocol(socket)} {words.socket_state(socket.state)} {source}"
    if not socket.destination_port:
        return text
    return f"{text} to {words.inet_address(socket.destination, socket.destination_port)}"


def _view(dump: Dump, inventory: Inventory) -> _View:
    comms = {task.pid: task.comm for task in dump.tasks}
    return _View(dump, comms, {reference.socket.id: reference for reference in inventory.sockets})


def render_tree(dump: Dump, inventory: Inventory) -> str:
    """Draw the tree, a line for each thing a process holds."""
    view = _view(dump, inventory)
    children: defaultdict[Pid, list[Task]] = defaultdict(list)
    for task in dump.tasks:
        children[task.ppid].append(task)
    lines: list[str] = []
    waiting = [(dump.tasks[0], "", "")]
    while waiting:  # Not by recursion: a dump may be as deep as it likes.
        task, before, below = waiting.pop()
        own = children.get(task.pid, [])
        lines.append(f"{before}{_headline(task)}")
        rail = "│  " if own else "   "
        lines += [f"{below}{rail}{line}" for line in _holdings(view, task)]
        branches = [("├─ ", "│  ")] * (len(own) - 1) + [("└─ ", "   ")]
        waiting += [
            (child, below + branch, below + trunk)
            for child, (branch, trunk) in reversed(list(zip(own, branches, strict=False)))
        ]
    return "\n".join(lines)


def _headline(task: Task) -> str:
    facts = (
        "session leader" if task.sid == task.pid else f"session {task.sid}",
        "group leader" if task.pgid == task.pid else f"group {task.pgid}",
        "" if task.state is TaskState.ALIVE else words.task_state(task.state),
        "" if task.seccomp is SeccompMode.DISABLED else f"seccomp {words.member(task.seccomp)}",
    )
    return f"{task.comm}({task.pid})  {', '.join(filter(None, facts))}"


def _holdings(view: _View, task: Task) -> Iterator[str]:
    if len(task.threads) > 1:
        yield f"threads {words.ranges(sorted(task.threads))}"
    places = {"exe": task.exe, "cwd": task.cwd, "root": task.root}
    if task.exe is not None:
        yield ", ".join(f"{role} {view.name_of(file)}" for role, file in places.items())
    by_file: defaultdict[FileId, list[int]] = defaultdict(list)
    for descriptor in task.descriptors:
        by_file[descriptor.file].append(descriptor.fd)
    rows = [
        (f"fd {' '.join(map(str, fds))}", view.what(view.dump.files[file])) for file, fds in by_file.items()
    ]
    width = max((len(fds) for fds, _ in rows), default=0)
    yield from (f"{fds.ljust(width)}  {what}" for fds, what in rows)
    yield from _mapped(view, task)
    outer = set(view.dump.outer_namespaces)
    own = [f"{kind.value} {number}" for kind, number in task.namespaces if (kind, number) not in outer]
    if outer and own:
        yield f"namespaces {', '.join(own)}"


def _mapped(view: _View, task: Task) -> Iterator[str]:
    """Name what is mapped; programs and libraries, which are many and alike, by their number alone."""
    code = {mapping.file for mapping in task.mappings if mapping.protection & _PROT_EXEC}
    files = _mapped_files(task)
    yield from (f"maps {view.what(view.dump.files[file])}" for file in files if file not in code)
    if count := sum(file in code for file in files):
        yield f"maps {counted(count, 'program or library', 'programs and libraries')}"


def _mapped_files(task: Task) -> dict[FileId, None]:
    return dict.fromkeys(mapping.file for mapping in task.mappings if mapping.file is not None)


def render_tree_json(dump: Dump, inventory: Inventory) -> str:
    """Write the same as one list, parents before children: a tree of objects could be too deep to read."""
    view = _view(dump, inventory)
    return json.dumps(
        {"version": VERSION, "processes": [_task_json(view, task) for task in dump.tasks]}, indent=2
    )


def _task_json(view: _View, task: Task) -> dict[str, object]:
    files = view.dump.files
    return {
        "pid": task.pid,
        "ppid": task.ppid,
        "pgid": task.pgid,
        "sid": task.sid,
        "comm": task.comm,
        "state": words.member(task.state),
        "threads": list(task.threads),
        "seccomp": words.member(task.seccomp),
        "exe": view.name_of(task.exe) or None,
        "cwd": view.name_of(task.cwd) or None,
        "root": view.name_of(task.root) or None,
        "namespaces": {kind.value: number for kind, number in task.namespaces},
        "descriptors": [
            {
                "fd": item.fd,
                "file": item.file,
                "type": words.file_kind(files[item.file]),
                "what": view.what(files[item.file]),
            }
            for item in task.descriptors
        ],
        "mapped": [{"file": file, "what": view.what(files[file])} for file in _mapped_files(task)],
    }
