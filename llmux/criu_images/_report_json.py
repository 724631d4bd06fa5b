"""A dump's inventory as JSON, for programs: `docs/json.md` describes every field and promises what stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from llmux.criu_images import _report_json_system as system
from llmux.criu_images import _words as words
from llmux.criu_images._inventory import (
    FileReference,
    Inventory,
    PathKind,
    PathReference,
    PortReference,
    SocketReference,
    socket_path,
)
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._record_json import Json, Written, record_json, record_object
from llmux.criu_images._records import Dump, Fifo, File, FileId, Memfd, RegularFile, Remap, Task, UnixSocket
from llmux.criu_images._sections import Section, sections_of
from llmux.criu_images._users import Role, User

VERSION = 1


def json_lines(dump: Dump, inventory: Inventory, only: Section | None = None) -> Iterator[str]:
    """Yield the whole report, or the keys of one section, as one JSON object line by line, one for each thing: a large dump's report is never in memory as a whole."""
    yield "{"
    yield f'  "version": {VERSION},'
    for section, keys in _KEYS.items():
        if only in {None, section}:
            for name, things in keys(dump, inventory).items():
                yield from _lines(name, things)
    paths = (_path(item) for item in inventory.paths if only is None or only in sections_of(item))
    if only in {None, *_WITH_PATHS}:
        yield from _listed("paths", paths)
    yield f'  "image_version": {dump.image_version}'
    yield "}"


def _lines(name: str, things: Iterable[Json] | Written) -> Iterator[str]:
    if isinstance(things, dict):
        yield f'  "{name}": {_ENCODE(things)},'
        return
    yield from _listed(name, things.texts if isinstance(things, Written) else _encoded(iter(things)))


def _listed(name: str, texts: Iterable[str]) -> Iterator[str]:
    line = f'  "{name}": ['
    comma = ""
    for text in texts:
        yield line + comma
        line, comma = f"    {text}", ","
    yield line
    yield "  ],"


_ENCODE = json.JSONEncoder().encode
_AT_ONCE = 500
_BETWEEN = "\0"
_BOUNDARY = f", {_ENCODE(_BETWEEN)}, "
"""Stands in no text of JSON: a quote within one has a backslash before it."""


def _encoded(things: Iterator[Json]) -> Iterator[str]:
    """Encode many by one call, which costs more than encoding one, and take them apart again."""
    while batch := list(islice(things, _AT_ONCE)):
        parted: list[Json] = [_BETWEEN] * (2 * len(batch) - 1)
        parted[::2] = batch
        yield from _ENCODE(parted)[1:-1].split(_BOUNDARY)


def _path(reference: PathReference) -> str:
    """Write the object of one path; by hand, as a large dump has a hundred thousand of them."""
    build_id = "null" if reference.build_id is None else f'"{reference.build_id.hex()}"'
    remap = "null" if reference.remap is None else _ENCODE(_remap(reference.remap))
    users = ", ".join(
        [
            f'{{"pid": {user.pid}, "role": {_ROLES[user.role]}, "number": {user.number}}}'
            for user in reference.users
        ]
    )
    return (
        f'{{"path": {_ENCODE(escape(reference.path))}, "kind": {_PATH_KINDS[reference.kind]}, '
        f'"size": {_number(reference.size)}, "mode": {_number(reference.mode)}, "build_id": {build_id}, '
        f'"flags": {reference.flags}, "file": {_number(reference.file)}, "remap": {remap}, "users": [{users}]}}'
    )


_PATH_KINDS = {kind: _ENCODE(kind.value) for kind in PathKind}
_ROLES = {role: _ENCODE(role.value) for role in Role}


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


def _remap(remap: Remap) -> Json:
    return {"type": words.member(remap.type), "original": remap.original, "target": remap.remap_id}


def _users(users: Iterable[User]) -> list[Json]:
    return [{"pid": user.pid, "role": user.role.value, "number": user.number} for user in users]


def _tasks(dump: Dump, _: Inventory) -> system.Keys:
    return {"tasks": (_task(dump, task) for task in dump.tasks)}


def _task(dump: Dump, task: Task) -> Json:
    return {
        "pid": task.pid,
        "ppid": task.ppid,
        "pgid": task.pgid,
        "sid": task.sid,
        "threads": list(task.threads),
        "comm": task.comm,
        "state": words.member(task.state),
        "seccomp": words.member(task.seccomp),
        "exe": _name(dump, task.exe),
        "cwd": _name(dump, task.cwd),
        "root": _name(dump, task.root),
        **system.task_details(task),
    }


def _name(dump: Dump, file: FileId | None) -> str | None:
    found = None if file is None else dump.files[file]
    return escape(found.name) if isinstance(found, RegularFile) else None


def _unix_sockets(dump: Dump, inventory: Inventory) -> system.Keys:
    return {
        "unix_sockets": map(_unix_socket, inventory.sockets),
        "packets": map(record_json, dump.packets),
    }


def _unix_socket(reference: SocketReference) -> Json:
    socket = reference.socket
    return {
        "file": socket.id,
        "inode": socket.inode,
        "type": words.socket_type(socket.type),
        "state": words.member(socket.state),
        "flags": socket.flags,
        "name": escape(socket.name),
        "name_dir": _maybe_path(socket.name_dir),
        "form": _form(socket),
        "path": _maybe_path(socket_path(socket)),
        "bind_path": _maybe_path(reference.bind_path),
        "binds": socket.binds,
        "deleted": socket.deleted,
        "external": socket.external,
        "plugin": socket.plugin,
        "backlog": socket.backlog,
        "shutdown": words.member(socket.shutdown),
        "mode": socket.mode,
        "uid": socket.uid,
        "gid": socket.gid,
        "queued_bytes": reference.queued_bytes,
        "queued_packets": reference.queued_packets,
        "peer": None if socket.peer is None else _peer(socket.peer, reference.peer),
        "users": _users(reference.users),
    }


def _form(socket: UnixSocket) -> str:
    if not socket.name:
        return "unnamed"
    return "abstract" if socket.abstract else "path"


def _peer(inode: int, peer: UnixSocket | None) -> Json:
    return {
        "inode": inode,
        "in_dump": peer is not None and not peer.external,
        "name": None if peer is None else escape(peer.name),
        "path": None if peer is None else _maybe_path(socket_path(peer)),
    }


def _maybe_path(path: RawPath | None) -> str | None:
    return None if path is None else escape(path)


def _inet_sockets(dump: Dump, inventory: Inventory) -> system.Keys:
    queues: dict[int, Json] = {
        item.inode: {"received": item.received, "unsent": item.unsent} for item in dump.tcp_queues
    }
    references = (*inventory.ports, *inventory.connections)
    return {"inet_sockets": (_inet_socket(item, queues.get(item.socket.inode)) for item in references)}


def _inet_socket(reference: PortReference, queues: Json) -> Json:
    socket = reference.socket
    return {
        "file": socket.id,
        "inode": socket.inode,
        "family": socket.family,
        "type": words.socket_type(socket.type),
        "protocol": socket.protocol,
        "state": words.member(socket.state),
        "source": socket.source,
        "source_port": socket.source_port,
        "destination": socket.destination,
        "destination_port": socket.destination_port,
        "backlog": socket.backlog,
        "queued": queues,
        "v6only": socket.v6only,
        "reuseaddr": socket.reuseaddr,
        "reuseport": socket.reuseport,
        "freebind": socket.freebind,
        "interface": _maybe_path(socket.interface),
        "shutdown": words.member(socket.shutdown),
        "namespace": socket.namespace,
        "options": record_json(socket.options),
        "users": _users(reference.users),
    }


def _memory(dump: Dump, inventory: Inventory) -> system.Keys:
    memfds: list[Json] = [
        _memfd(item.file, item.users) for item in inventory.others if isinstance(item.file, Memfd)
    ]
    return {"memfds": memfds, "sysv_segments": map(record_json, dump.sysv_segments)}


def _memfd(file: Memfd, users: Iterable[User]) -> Json:
    return {
        "file": file.id,
        "inode": file.inode,
        "name": escape(file.name),
        "size": file.size,
        "seals": record_json(file.seals),
        "huge_page": file.huge_page,
        "users": _users(users),
    }


def _remaps(dump: Dump, _: Inventory) -> system.Keys:
    return {"remaps": map(_remap, dump.remaps), "ghosts": map(record_json, dump.ghosts.values())}


def _fifos(dump: Dump, _: Inventory) -> system.Keys:
    return {"fifos": (_facts(file) for file in dump.files.values() if isinstance(file, Fifo))}


def _facts(file: File) -> dict[str, Json]:
    """Write a file's record, its id under the name that it has everywhere here."""
    facts = record_object(file)
    return {"file": facts.pop("id"), **facts}


def _others(dump: Dump, inventory: Inventory) -> system.Keys:
    return {
        "others": (_other(item) for item in inventory.others if not isinstance(item.file, Memfd)),
        "pipe_data": map(record_json, dump.pipe_data),
    }


def _other(reference: FileReference) -> Json:
    return {
        "file": reference.file.id,
        "type": words.file_kind(reference.file),
        "details": reference.details,
        "facts": {
            name: fact for name, fact in _facts(reference.file).items() if name not in {"file", "build_id"}
        },
        "users": _users(reference.users),
    }


def _ids(_: Dump, inventory: Inventory) -> system.Keys:
    return {"ids": list(inventory.ids)}


def _needs(dump: Dump, inventory: Inventory) -> system.Keys:
    return {
        "needs": [
            {"kind": need.kind.value, "what": need.what, "users": _users(need.users)}
            for need in inventory.needs
        ],
        "cautions": [{"what": each.what, "tasks": list(each.tasks)} for each in inventory.cautions],
        "unknown": map(record_json, dump.unknown),
        **system.machine(dump),
    }


_KEYS: dict[Section, Callable[[Dump, Inventory], system.Keys]] = {
    Section.TASK: _tasks,
    Section.DESCRIPTOR: system.descriptors,
    Section.MAPPING: system.mappings,
    Section.UNIX: _unix_sockets,
    Section.INET: _inet_sockets,
    Section.REMAP: _remaps,
    Section.SHM: _memory,
    Section.FIFO: _fifos,
    Section.OTHER: _others,
    Section.RIGHT: system.rights,
    Section.TIMER: system.timers,
    Section.CGROUP: system.control_groups,
    Section.NAMESPACE: system.namespaces,
    Section.ID: _ids,
    Section.NEED: _needs,
}
"""What each section adds beside `paths`."""

_WITH_PATHS = {Section.UNIX, Section.REMAP, Section.SHM, Section.FIFO, Section.WATCH, Section.FILE}
