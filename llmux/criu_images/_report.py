"""A dump's inventory as text for people: who refers to what, and what a restore needs.

One line for each thing, nothing cut off; every path is escaped (`_paths.py`). `tables_of` gives the tables themselves, for
whoever draws them otherwise.
"""

from __future__ import annotations

import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llmux.criu_images import _report_system as system
from llmux.criu_images import _words as words
from llmux.criu_images._counted import counted
from llmux.criu_images._enums import SELF_CONTAINED, SeccompMode, Shutdown, TaskState
from llmux.criu_images._inventory import (
    Inventory,
    PathKind,
    PathReference,
    PortReference,
    SocketReference,
)
from llmux.criu_images._needs import NeedKind
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    Dump,
    File,
    FileId,
    Memfd,
    OtherFile,
    Pid,
    RegularFile,
    Task,
    Terminal,
)
from llmux.criu_images._sections import Section, sections_of
from llmux.criu_images._table import Table, plain_lines
from llmux.criu_images._users import User


@dataclass(frozen=True, slots=True)
class _View:
    """What the sections are written from."""

    dump: Dump
    inventory: Inventory
    comms: dict[Pid, str]
    alone: bool
    """One section was asked for: leave nothing to a summary."""

    by_section: Mapping[Section, Mapping[PathKind, list[PathReference]]]

    def holders(self, users: Sequence[User]) -> str:
        return words.holders(users, self.comms)


def render(dump: Dump, inventory: Inventory, only: Section | None = None) -> str:
    """Write a report, or one section of it, as plain text."""
    return "\n".join(plain_lines(tables_of(dump, inventory, only)))


def tables_of(dump: Dump, inventory: Inventory, only: Section | None = None) -> Iterator[Table]:
    """Yield the tables of a report, or of one section of it; those without rows too."""
    by_section: defaultdict[Section, defaultdict[PathKind, list[PathReference]]]
    by_section = defaultdict(lambda: defaultdict(list))
    for reference in inventory.paths:
        for section in sections_of(reference):
            by_section[section][reference.kind].append(reference)
    comms = {task.pid: task.comm for task in dump.tasks}
    view = _View(dump, inventory, comms, only is not None, by_section)
    for section, write in _WRITERS.items():
        if only in {None, section}:
            yield from write(view)


def _tasks(view: _View) -> Iterator[Table]:
    children: defaultdict[Pid, list[Task]] = defaultdict(list)
    for task in view.dump.tasks:
        children[task.ppid].append(task)
    root = view.dump.tasks[0]
    rows = [_task_row(view, task, depth) for task, depth in _descend(root, children)]
    yield Table("Processes", "", ("pid", "name", "group", "session", "what"), rows)


def _descend(root: Task, children: dict[Pid, list[Task]]) -> Iterator[tuple[Task, int]]:
    """Walk the tree, parents first, without recursion: a dump may be as deep as it likes."""
    waiting = [(root, 0)]
    while waiting:
        task, depth = waiting.pop()
        yield task, depth
        waiting += [(child, depth + 1) for child in reversed(children.get(task.pid, []))]


def _task_row(view: _View, task: Task, depth: int) -> tuple[str, ...]:
    names = {"exe": task.exe, "cwd": task.cwd, "root": task.root}
    places = [f"{role} {_name(view.dump.files[file])}" for role, file in names.items() if file is not None]
    state = "" if task.state is TaskState.ALIVE else words.task_state(task.state)
    seccomp = "" if task.seccomp is SeccompMode.DISABLED else f"seccomp {words.member(task.seccomp)}"
    threads = counted(len(task.threads), "thread")
    details = ", ".join(filter(None, (threads, state, seccomp, *_marks(task), *places)))
    return f"{'  ' * depth}{task.pid}", task.comm, f"pgid {task.pgid}", f"sid {task.sid}", details


def _marks(task: Task) -> Iterator[str]:
    """Name what sets a task apart from most."""
    if task.exit_code:
        yield f"status {task.exit_code:#x}"
    if task.stop_signal:
        yield f"by signal {task.stop_signal}"
    if task.pending_signals:
        yield f"pending signals {task.pending_signals:#x}"
    if task.oom_score_adj:
        yield f"oom_score_adj {task.oom_score_adj}"
    if task.dumpable == 0:
        yield "not dumpable"
    if task.child_subreaper:
        yield "subreaper"


def _name(file: File) -> str:
    return escape(file.name) if isinstance(file, RegularFile) else f"file {file.id:#x}"


def _unix(view: _View) -> Iterator[Table]:
    by_id = {reference.socket.id: reference for reference in view.inventory.sockets}
    rows = [_unix_row(view, reference, by_id) for reference in view.inventory.sockets]
    yield Table(
        "Unix sockets",
        "CRIU binds those marked `bind`: no other file may be there, its directory must be",
        ("type", "state", "address", "inode", "held by", "peer", "details"),
        rows,
    )


def _unix_row(
    view: _View, reference: SocketReference, by_id: dict[FileId, SocketReference]
) -> tuple[str, ...]:
    socket = reference.socket
    return (
        words.socket_type(socket.type),
        "EXTERN" if socket.external else words.socket_state(socket.state),
        words.unix_address(socket),
        str(socket.inode),
        view.holders(reference.users) or "nobody",
        _peer(view, reference, by_id),
        ", ".join(_socket_details(reference)),
    )


def _peer(view: _View, reference: SocketReference, by_id: dict[FileId, SocketReference]) -> str:
    if reference.socket.peer is None:
        return ""
    if reference.peer is None:
        return f"peer {reference.socket.peer} outside the dump"
    held_by = view.holders(by_id[reference.peer.id].users)
    return f"peer {words.unix_address(reference.peer)} {reference.peer.inode} {held_by}".rstrip()


def _socket_details(reference: SocketReference) -> Iterator[str]:
    socket = reference.socket
    if socket.binds:
        yield "bind"
    if socket.deleted:
        yield "deleted"
    if socket.name_dir is not None:
        yield f"bound as {escape(socket.name)} in {escape(socket.name_dir)}"
    if reference.peer is not None and reference.peer.listening:
        yield "not accepted yet"
    if socket.listening:
        yield f"backlog {socket.backlog}"
    if reference.queued_packets:
        yield f"queued {counted(reference.queued_bytes, 'byte')} in {counted(reference.queued_packets, 'packet')}"
    if socket.shutdown is not Shutdown.NONE:
        yield f"shut down {words.member(socket.shutdown)}"
    if socket.mode is not None:
        yield f"{stat.filemode(socket.mode)} {socket.uid}:{socket.gid}"


def _inet(view: _View) -> Iterator[Table]:
    yield Table(
        "Ports", "must be free", _PORT_COLUMNS, [_port_row(view, port) for port in view.inventory.ports]
    )
    connections = [_port_row(view, port) for port in view.inventory.connections]
    yield Table(
        "TCP connections",
        "need --tcp-established and the same address, or --tcp-close",
        _PORT_COLUMNS,
        connections,
    )


_PORT_COLUMNS = ("protocol", "state", "address", "to", "backlog", "held by")


def _port_row(view: _View, port: PortReference) -> tuple[str, ...]:
    socket = port.socket
    return (
        words.protocol(socket),
        words.socket_state(socket.state),
        words.inet_address(socket.source, socket.source_port),
        words.inet_address(socket.destination, socket.destination_port) if socket.destination_port else "",
        f"backlog {socket.backlog}" if socket.listening else "",
        view.holders(port.users),
    )


def _remaps(view: _View) -> Iterator[Table]:
    return _path_tables(view, Section.REMAP)


def _shared_memory(view: _View) -> Iterator[Table]:
    of_kinds = view.by_section.get(Section.SHM, {}).values()
    found = sorted(
        (item for items in of_kinds for item in items), key=lambda item: (item.path, item.kind.value)
    )
    rows = [(*_path_row(view, reference), f"({reference.kind.value})") for reference in found]
    yield Table(
        "Shared memory by name",
        "must be there with this size and mode, hard links kept",
        (*_PATH_COLUMNS, "kind"),
        rows,
    )
    if view.dump.sysv_segments:
        segments = [
            (f"key {item.key:#x}", f"id {item.id}", counted(item.size, "byte"))
            for item in view.dump.sysv_segments
        ]
        yield Table("System V shared memory", "in the images", ("key", "id", "size"), segments)
    yield Table(
        "Memory files and anonymous shared memory",
        "in the images",
        ("name", "size", "held by"),
        list(_memfd_rows(view)),
    )


def _memfd_rows(view: _View) -> Iterator[tuple[str, ...]]:
    """Tell of each inode once: a memory file may be open and mapped by entries of their own."""
    users: defaultdict[Memfd, list[User]] = defaultdict(list)
    for item in view.inventory.others:
        if isinstance(item.file, Memfd):
            users[replace(item.file, id=FileId(0))] += item.users
    for memfd, held_by in users.items():
        yield (
            escape(memfd.name),
            "" if memfd.size is None else counted(memfd.size, "byte"),
            view.holders(held_by),
        )


def _fifos(view: _View) -> Iterator[Table]:
    return _path_tables(view, Section.FIFO)


def _watches(view: _View) -> Iterator[Table]:
    return _path_tables(view, Section.WATCH)


def _files(view: _View) -> Iterator[Table]:
    return _path_tables(view, Section.FILE)


_TITLES = {
    PathKind.LINK_REMAP: (
        "Link remaps",
        "hard links CRIU made for files whose name is gone; a restore needs them and uses them up",
    ),
    PathKind.LINKED_NAME: ("Names restored by a link remap", "must be free, their directory must be there"),
    PathKind.GHOST_NAME: ("Ghosts", "deleted files, kept in the images; their directory must be there"),
    PathKind.FIFO: ("FIFOs", "must be there; what is in them is in the images"),
    PathKind.WATCHED: ("Watched paths", "must be there for inotify and fanotify"),
    PathKind.DIRECTORY: ("Directories", "must be there with this mode"),
    PathKind.DEVICE: ("Devices", "must be there"),
    PathKind.SYMLINK: ("Symbolic links", "must be there"),
    PathKind.OTHER: ("Other nodes", "must be there"),
    PathKind.PROC: ("Files of the kernel", "come with the processes"),
    PathKind.REGULAR: ("Regular files", "must be there with this size, mode and build-id"),
}
"""What each kind of path is called, and what a restore asks of it."""


def _path_tables(view: _View, section: Section) -> Iterator[Table]:
    of_kinds = view.by_section.get(section, {})
    for kind, (title, note) in _TITLES.items():
        rows = [_path_row(view, reference) for reference in of_kinds.get(kind, ())]
        yield Table(title, note, _PATH_COLUMNS, rows)


_PATH_COLUMNS = ("mode", "size", "path", "held by", "build-id")


def _path_row(view: _View, reference: PathReference) -> tuple[str, ...]:
    return (
        "" if reference.mode is None else stat.filemode(reference.mode),
        _size(reference),
        escape(reference.path),
        view.holders(reference.users) or "nobody",
        "" if reference.build_id is None else f"build-id {reference.build_id.hex()}",
    )


def _size(reference: PathReference) -> str:
    """Write the size a restore demands; a dash where a file has one, but it may be any."""
    if reference.size is None:
        return "-" if reference.kind is PathKind.REGULAR else ""
    return str(reference.size)


def _others(view: _View) -> Iterator[Table]:
    found = [item for item in view.inventory.others if _self_contained(item.file)]
    if view.alone:
        rows = [
            (words.file_kind(item.file), f"{item.file.id:#x}", view.holders(item.users), item.details)
            for item in found
        ]
    else:
        rows = [
            (kind, str(count), "", "")
            for kind, count in Counter(words.file_kind(item.file) for item in found).most_common()
        ]
    yield Table(
        "Restored from the images alone",
        "`--kind other` lists each",
        ("type", "", "held by", "details"),
        rows,
        len(found),
    )


def _self_contained(file: File) -> bool:
    match file:
        case OtherFile():
            return file.type in SELF_CONTAINED
        case RegularFile() | Terminal():
            return False
        case _:
            return True


def _ids(view: _View) -> Iterator[Table]:
    ids = view.inventory.ids
    yield Table(
        "Ids",
        "of processes, threads, groups and sessions; all must be free",
        ("ids",),
        [(words.ranges(ids),)],
        len(ids),
    )


def _needs(view: _View) -> Iterator[Table]:
    needs = [
        (need.kind.value, need.what, view.holders(need.users))
        for need in view.inventory.needs
        if need.kind is not NeedKind.ESTABLISHED_TCP  # They have a table of their own.
    ]
    yield Table("Also needed", "", ("kind", "what", "for"), needs)
    cautions = [(each.what, " ".join(map(str, each.tasks))) for each in view.inventory.cautions]
    yield Table("Not restored", "CRIU leaves these out without a word", ("what", "processes"), cautions)
    unknown = [(item.image, f"entry {item.entry}", item.why) for item in view.dump.unknown]
    yield Table(
        "Not understood",
        "this release can't say what a restore needs for these",
        ("image", "entry", "why"),
        unknown,
    )


_WRITERS: dict[Section, Callable[[_View], Iterator[Table]]] = {
    Section.TASK: _tasks,
    Section.DESCRIPTOR: lambda view: system.descriptors(view.dump, view.alone),
    Section.MAPPING: lambda view: system.mappings(view.dump, view.alone),
    Section.UNIX: _unix,
    Section.INET: _inet,
    Section.REMAP: _remaps,
    Section.SHM: _shared_memory,
    Section.FIFO: _fifos,
    Section.WATCH: _watches,
    Section.FILE: _files,
    Section.OTHER: _others,
    Section.RIGHT: lambda view: system.rights(view.dump, view.alone),
    Section.TIMER: lambda view: system.timers(view.dump, view.alone),
    Section.CGROUP: lambda view: system.control_groups(view.dump, view.alone),
    Section.NAMESPACE: lambda view: system.namespaces(view.dump, view.inventory),
    Section.ID: _ids,
    Section.NEED: _needs,
}
