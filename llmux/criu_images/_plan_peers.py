"""What the restore needs at the names of datagram peers outside the dump (`post_open_standalone` of sk-unix.c)."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import assert_never

from llmux.criu_images._actions import Conflict, HoldBindPoint, RemoveStale, path_conflict
from llmux.criu_images._facts import Facts, Peer, Seen
from llmux.criu_images._messages_sockets import EXTERNAL_PEER
from llmux.criu_images._paths import escape
from llmux.criu_images._plan_files import Step
from llmux.criu_images.manifest import Manifest, SocketEntry

_NOTHING = Seen()


def plan_peers(manifest: Manifest, facts: Facts) -> Iterator[Step]:
    """Plan each name once. A relative one is relative to CRIU's own working directory, so there is nothing to plan."""
    peers = {socket.name: socket for socket in manifest.sockets if socket.external}
    for name in sorted(peers):
        if name.startswith((b"/", b"\0")):
            yield from _plan_peer(peers[name], _connecting(manifest, peers[name]), facts)


def _connecting(manifest: Manifest, peer: SocketEntry) -> int:
    """Return the inode number that CRIU's message names."""
    return next((socket.inode for socket in manifest.sockets if socket.peer == peer.inode), peer.inode)


def _plan_peer(peer: SocketEntry, connecting: int, facts: Facts) -> Iterator[Step]:
    seen = facts.paths.get(peer.name, _NOTHING)
    inode = seen.inode
    if seen.obstacle is not None:
        yield path_conflict(peer.name, f"cannot be reached: {seen.obstacle}", None, "Clear the way to it.")
        return
    if inode is not None and not stat.S_ISSOCK(inode.mode):
        found = f"a {inode.kind} is where the peer outside the dump has its socket"
        yield _conflict(peer, connecting, found, "Connection refused", "Move it away.")
        return
    match facts.peers.get(peer.name, Peer.NOBODY):
        case Peer.LISTENS:
            return
        case Peer.NOBODY:
            if inode is not None:
                yield RemoveStale(peer.name, inode.identity, "nobody listens at this socket any more")
            yield HoldBindPoint(peer.name, peer.node, "a peer outside the dump was here, and nobody is")
        case Peer.OTHER_TYPE:
            found = "the socket here is no datagram socket, as the peer outside the dump was"
            yield _conflict(peer, connecting, found, "Protocol wrong type for socket", "Stop whoever has it.")
        case Peer.REFUSES:
            found = "the socket here takes messages of one other socket only"
            yield _conflict(peer, connecting, found, "Operation not permitted", "Stop whoever has it.")
        case _:
            assert_never(facts.peers[peer.name])


def _conflict(peer: SocketEntry, connecting: int, found: str, error: str, advice: str) -> Conflict:
    subject = escape(peer.name) if peer.name.startswith(b"/") else f"abstract socket {escape(peer.name)}"
    return Conflict(subject, found, f"{EXTERNAL_PEER.say(inode=connecting)}: {error}", advice)
