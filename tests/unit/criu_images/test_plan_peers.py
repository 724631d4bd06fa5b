"""The names of datagram peers outside the dump: held where nobody is, left alone where somebody is."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest
from manifests import facts, inode, manifest, socket_entry

from llmux.criu_images._actions import verb_of
from llmux.criu_images._facts import Peer, Seen
from llmux.criu_images._paths import RawPath
from llmux.criu_images._plan import make_plan
from llmux.criu_images._plan_peers import MOST_HELD

SOCKET = Seen(inode(stat.S_IFSOCK | 0o666))


def plan_of(name: bytes, peer: Peer | None, seen: Seen | None = None):
    sockets = (
        socket_entry(name, external=True),
        socket_entry(b"").model_copy(update={"inode": 9, "peer": 7}),
    )
    paths = {} if seen is None else {name.decode(): seen}
    return make_plan(
        manifest(sockets=sockets), facts(paths, peers={} if peer is None else {RawPath(name): peer})
    )


@pytest.mark.parametrize("name", [b"/dev/log", b"\0abstract"])
def test_nobody_there(name):
    (action,) = plan_of(name, Peer.NOBODY).actions
    assert (verb_of(action), action.path, action.abstract) == ("hold", name, name.startswith(b"\0"))


@pytest.mark.parametrize("name", [b"/dev/log", b"\0abstract"])
def test_somebody_there(name):
    plan = plan_of(name, Peer.LISTENS, SOCKET)
    assert (plan.actions, plan.conflicts) == ((), ())


def test_a_dead_socket_is_stale():
    plan = plan_of(b"/dev/log", Peer.NOBODY, SOCKET)
    assert [verb_of(action) for action in plan.actions] == ["remove stale", "hold"]


def test_each_name_is_held_once():
    sockets = (
        socket_entry(b"/dev/log", external=True),
        socket_entry(b"/dev/log", external=True).model_copy(update={"inode": 8}),
    )
    assert len(make_plan(manifest(sockets=sockets), facts()).actions) == 1


def test_a_relative_name_is_relative_to_what_nobody_recorded():
    plan = plan_of(b"log", None)
    assert (plan.actions, plan.conflicts) == ((), ())
    assert "the relative name log, and nobody recorded in which directory" in plan.warnings[-1]


@pytest.mark.parametrize(
    ("count", "conflicts"), [(MOST_HELD, []), (MOST_HELD + 1, ["peers outside the dump"])]
)
def test_more_names_than_one_process_can_hold(count, conflicts):
    sockets = tuple(socket_entry(b"/run/%d" % number, external=True) for number in range(count))
    assert [one.subject for one in make_plan(manifest(sockets=sockets), facts()).conflicts] == conflicts


CONFLICTS = {
    "stream socket": (
        Peer.OTHER_TYPE,
        SOCKET,
        "unix: Can't connect 9 socket: Protocol wrong type for socket",
    ),
    "connected elsewhere": (Peer.REFUSES, SOCKET, "unix: Can't connect 9 socket: Operation not permitted"),
    "file": (Peer.NOBODY, Seen(inode()), "unix: Can't connect 9 socket: Connection refused"),
    "blocked": (None, replace(Seen(), obstacle="a link of user 1000"), None),
}


@pytest.mark.parametrize(("peer", "seen", "says"), CONFLICTS.values(), ids=CONFLICTS)
def test_conflicts(peer, seen, says):
    plan = plan_of(b"/dev/log", peer, seen)
    assert [(one.subject, one.criu_says) for one in plan.conflicts] == [("/dev/log", says)]
    assert plan.actions == ()
