"""A dump's sockets as a graph in Graphviz's DOT language: who holds which, and which is whose peer."""

from __future__ import annotations

from collections.abc import Iterator

from llmux.criu_images import _words as words
from llmux.criu_images._inventory import Inventory, SocketReference
from llmux.criu_images._records import Dump
from llmux.criu_images._users import User


def render_dot(dump: Dump, inventory: Inventory) -> str:
    """Write the graph of processes and Unix sockets."""
    lines = [
        "graph unix_sockets {",
        "  rankdir=LR;",
        '  node [fontname="monospace"];',
        *(
            f"  {_quoted(f'task {task.pid}')} [shape=box, label={_quoted(f'{task.comm}({task.pid})')}];"
            for task in dump.tasks
        ),
        *(line for reference in inventory.sockets for line in _socket(reference)),
        *_peers(inventory),
        "}",
    ]
    return "\n".join(lines)


def _socket(reference: SocketReference) -> Iterator[str]:
    socket = reference.socket
    node = _node(socket.inode)
    state = "EXTERN" if socket.external else words.socket_state(socket.state)
    label = "\n".join(
        (f"{words.socket_type(socket.type)} {state} {socket.inode}", words.unix_address(socket))
    )
    style = "style=bold" if reference.bind_path is not None else "style=solid"
    yield f"  {node} [label={_quoted(label)}, {style}];"
    for user in reference.users:
        yield f"  {_quoted(f'task {user.pid}')} -- {node} [label={_quoted(_use(user))}];"


def _use(user: User) -> str:
    return f"{user.role.value} {user.number}"


def _peers(inventory: Inventory) -> Iterator[str]:
    """Draw each pair once, and a one-sided peer with an arrow."""
    pairs = {reference.socket.inode: reference.socket.peer for reference in inventory.sockets}
    for inode, peer in pairs.items():
        if peer is None:
            continue
        if pairs.get(peer) != inode:
            yield f"  {_node(inode)} -- {_node(peer)} [dir=forward, penwidth=2];"
        elif inode <= peer:
            yield f"  {_node(inode)} -- {_node(peer)} [penwidth=2];"


def _node(inode: int) -> str:
    return _quoted(f"socket {inode}")


def _quoted(text: str) -> str:
    """Quote as DOT reads it: a backslash would start an escape of its own."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
