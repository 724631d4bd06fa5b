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

MOST_HELD = 245
"""How many sockets one process can be given to hold and hand over at once: the kernel passes 253 descriptors (SCM_MAX_FD)."""
_NOTHING = Seen()
_ABSOLUTE = (b"/", b"\0")


def plan_peers(manifest: Manifest, facts: Facts) -> Iterator[Step]:
    """Plan each name once; what can be done about relative ones, `peer_warnings` says."""
    peers = {socket.name: socket for socket in manifest.sockets if socket.external}
    held = 0
    for name in sorted(peers):
        if name.startswith(_ABSOLUTE):
            steps = tuple(_plan_peer(peers[name], _connecting(manifest, peers[name]), facts))
            held += sum(isinstance(step, HoldBindPoint) for step in steps)
            yield from steps
    if held > MOST_HELD:
        found = f"nobody is at {held} names of them, and llmux holds {MOST_HELD} at most"
        yield Conflict("peers outside the dump", found, None, "Start the programs that have sockets there.")


def peer_warnings(manifest: Manifest) -> Iterator[str]:
    """Yield what is said of relative names: the dump has no directory for them, so CRIU takes its own (`prep_unix_sk_cwd`)."""
    for name in sorted({socket.name for socket in manifest.sockets if socket.external}):
        if name and not name.startswith(_ABSOLUTE):
            yield (
                f"a peer outside the dump was at the relative name {escape(name)}, and nobody recorded in which directory:"
                " start criu in the one where that socket is"
            )


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
