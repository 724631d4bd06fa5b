"""Who in a dump uses what an error of CRIU's names. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from llmux.criu_images import _words as words
from llmux.criu_images._explain import Finding
from llmux.criu_images._inventory import Inventory
from llmux.criu_images._paths import escape
from llmux.criu_images._records import Dump, Pid


def referrers(finding: Finding, dump: Dump, inventory: Inventory) -> tuple[str, ...]:
    """Say for a path, socket, file id or task of an error what it is in the dump and who has it."""
    comms = {task.pid: task.comm for task in dump.tasks}
    found = (*_paths(finding, inventory, comms), *_sockets(finding, inventory, comms), *_tasks(finding, dump))
    return tuple(dict.fromkeys(found))


def _paths(finding: Finding, inventory: Inventory, comms: dict[Pid, str]) -> Iterator[str]:
    for reference in inventory.paths:
        if reference.path == finding.path and reference.users:
            yield f"{words.holders(reference.users, comms)} ({reference.kind.value})"


def _sockets(finding: Finding, inventory: Inventory, comms: dict[Pid, str]) -> Iterator[str]:
    inode, file_id = _number(finding, "inode"), _file_id(finding)
    for reference in inventory.sockets:
        socket = reference.socket
        if (inode is not None and socket.inode == inode) or (inode is None and socket.id == file_id):
            peer = "" if reference.peer is None else f", peer {words.unix_address(reference.peer)}"
            yield f"{words.holders(reference.users, comms) or 'nobody in the tree'} (Unix socket {words.unix_address(socket)}{peer})"
    for port in (*inventory.ports, *inventory.connections):
        if port.socket.id == file_id:
            address = words.inet_address(port.socket.source, port.socket.source_port)
            yield f"{words.holders(port.users, comms)} ({words.protocol(port.socket)} {address})"


def _tasks(finding: Finding, dump: Dump) -> Iterator[str]:
    pid = _number(finding, "pid")
    for task in dump.tasks:
        if pid == task.pid:
            yield f"process {pid} {escape(task.comm.encode())}"
        elif pid in task.threads:
            yield f"thread of process {task.pid} {escape(task.comm.encode())}"
        elif pid in {task.sid, task.pgid}:
            yield f"session or group of process {task.pid} {escape(task.comm.encode())}"


def _number(finding: Finding, hole: str) -> int | None:
    value = finding.match.values.get(hole)
    return None if value is None or value == b"..." else int(value)


def _file_id(finding: Finding) -> int | None:
    """Return the file's id: CRIU prints it in hex, but that of a network socket in decimal."""
    if finding.message is None:
        return None
    written = finding.match.values.get("id", b"...")
    if written != b"...":
        return int(written, 16)
    return _number(finding, "number") if "(id {number})" in finding.message.says else None
