"""The holder as its clients see it: a real process, real sockets."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
import time
from pathlib import Path

import pytest

from llmux.criu_images._actions import HoldBindPoint
from llmux.criu_images._facts import Peer
from llmux.criu_images._hold import (
    HolderReport,
    _ask,
    control_of,
    end_holder,
    probe_peer,
    renew_holder,
    start_holder,
)
from llmux.criu_images._paths import RawPath
from llmux.criu_images._plan_peers import MOST_HELD
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import HolderFailed
from llmux.criu_images.manifest import Metadata

pytestmark = pytest.mark.root
NODE = Metadata(mode=stat.S_IFSOCK | 0o622, uid=12, gid=34, mtime_ns=0, atime_ns=0)


@pytest.fixture
def tree():
    with Tree("/") as tree:
        yield tree


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "journals" / "one.json"
    path.parent.mkdir(mode=0o700)
    yield path
    end_holder(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def hold(tree, journal, path):
    """Have a path held, and an abstract name with it."""
    abstract = b"\0" + os.fsencode(path)

    def start(*, restorer: int | None = None, ids: frozenset[int] = frozenset()):
        names = (RawPath(os.fsencode(path)), RawPath(abstract))
        start_holder([HoldBindPoint(name, NODE, "") for name in names], tree, journal, ids, restorer)
        return names

    return start


def sender(name) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    connected.connect(name)
    return connected


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def a_process():
    pid = os.fork()
    if pid == 0:
        select.poll().poll()
        os._exit(0)
    return pid


def end(pid: int) -> None:
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def test_what_is_sent_is_counted_and_kept(hold, journal, path):
    for name in hold():
        with sender(name) as one:
            one.send(b"first")
            one.send(b"second")
    report = end_holder(journal)
    assert [(one.messages, one.size, one.kept) for one in report.held] == [(2, 11, (b"first", b"second"))] * 2
    assert not path.exists()
    assert list(journal.parent.iterdir()) == []
    assert end_holder(journal) == HolderReport((), "")


def test_the_node_is_as_it_was(hold, path):
    hold()
    status = path.stat()
    assert (status.st_mode, status.st_uid, status.st_gid) == (NODE.mode, 12, 34)


def test_a_sender_never_waits_and_what_is_kept_is_bounded(hold, journal, path):
    hold()
    with sender(os.fsencode(path)) as one:
        one.settimeout(20)
        for _ in range(20):
            one.send(bytes(100_000))
    held = end_holder(journal).held[0]
    assert (held.messages, held.size, len(held.kept)) == (20, 2_000_000, 10)


def test_descriptors_sent_along_are_closed_and_counted(hold, journal, path):
    hold()
    reader, writer = os.pipe()
    with sender(os.fsencode(path)) as one:
        socket.send_fds(one, [b"take this"], [writer])
    os.close(writer)
    held = end_holder(journal).held[0]
    assert (held.messages, held.with_descriptors) == (1, 1)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_it_has_none_of_our_files(hold, tmp_path):
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    hold()
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_its_id_is_none_of_the_dumps(hold, journal):
    newest = int(Path("/proc/loadavg").read_text().split()[-1])
    ids = frozenset(range(newest, newest + 30))
    hold(ids=ids)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.connect(str(control_of(journal)))
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4)
    assert int.from_bytes(credentials, "little") not in ids


def test_it_leaves_when_the_restore_fails(hold, journal, path):
    criu = a_process()
    hold(restorer=criu)
    assert path.exists()
    end(criu)
    until(lambda: not path.exists())
    until(lambda: not control_of(journal).exists())
    assert end_holder(journal).why == "the restore failed"


@pytest.fixture
def keep(tree, journal, tmp_path):
    """Have a locked file kept for a restorer, and nothing held; tell whether it is locked."""
    file = tmp_path / "link_remap.6"
    file.touch()

    def start(restorer: int):
        with file.open() as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            kept = {RawPath(os.fsencode(file)): locked.fileno()}
            start_holder([], tree, journal, frozenset(), restorer, kept=kept)

    def is_locked():
        with file.open() as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    return start, is_locked


def test_a_lock_is_kept_until_the_tree_is_restored(keep, journal):
    start, is_locked = keep
    criu = a_process()
    start(criu)
    assert is_locked()
    pidfd = os.pidfd_open(criu)
    _ask(journal, b"tree", [pidfd])
    os.close(pidfd)
    until(lambda: not is_locked())
    until(lambda: not list(journal.parent.iterdir()))
    end(criu)


def test_a_lock_ends_with_a_restore_that_fails(keep, journal):
    start, is_locked = keep
    criu = a_process()
    start(criu)
    assert is_locked()
    end(criu)
    until(lambda: not is_locked())
    until(lambda: not list(journal.parent.iterdir()))


def test_an_undo_ends_a_lock(keep, journal):
    start, is_locked = keep
    start(os.getpid())
    assert is_locked()
    assert end_holder(journal) == HolderReport((), "")
    until(lambda: not is_locked())


def test_another_rebuild_renews_it(hold, journal, path):
    first, second = a_process(), a_process()
    hold(restorer=first)
    renew_holder(journal, second)
    end(first)
    with sender(os.fsencode(path)) as one:
        one.send(b"still there")
    assert end_holder(journal).held[0].kept == (b"still there",)
    end(second)


def test_once_the_tree_is_restored_its_end_counts_and_criu_s_no_more(hold, journal, path):
    criu, tree = a_process(), a_process()
    hold(restorer=criu)
    pidfd = os.pidfd_open(tree)
    _ask(journal, b"tree", [pidfd])
    os.close(pidfd)
    end(criu)
    with sender(os.fsencode(path)) as one:
        one.send(b"still there")
    end(tree)
    until(lambda: not control_of(journal).exists())
    report = end_holder(journal)
    assert (report.why, report.held[0].kept) == ("the restored tree ended", (b"still there",))


def test_a_daemon_that_binds_the_path_gets_what_was_kept(hold, journal, path):
    hold()
    with sender(os.fsencode(path)) as one:
        one.send(b"for the daemon")
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.settimeout(20)
            daemon.bind(str(path))
            assert daemon.recv(100) == b"for the daemon"
            with pytest.raises(ConnectionRefusedError):
                until(lambda: one.send(b"again") == 0)
            assert end_holder(journal).held[-1].replayed == 1
            assert path.exists()


def test_the_sockets_are_handed_over(hold, journal, path):
    names = hold()
    senders = [sender(name) for name in names]
    for one in senders:
        one.send(b"before")
    report = end_holder(journal, hand_over=True)
    for one, handed in zip(senders, report.sockets, strict=True):
        one.send(b"after")
        handed.settimeout(20)
        assert {handed.recv(100), handed.recv(100)} == {b"before", b"after"}
        one.close()
        handed.close()
    assert path.exists()


def test_after_its_death_its_name_is_cleared(hold, journal):
    hold()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.connect(str(control_of(journal)))
        holder = int.from_bytes(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), "little")
    os.kill(holder, 9)
    until(lambda: end_holder(journal) == HolderReport((), "") and not control_of(journal).exists())


def test_a_report_cut_short_is_none(journal):
    report = Path(f"{control_of(journal)}.report")
    report.write_text('{"why": "the restored tree en')
    assert end_holder(journal) == HolderReport((), "it ended before it had told what was sent to it")
    assert not report.exists()


def test_what_cannot_be_bound_is_an_error_and_nothing_stays(tree, journal, path):
    path.touch()
    point = HoldBindPoint(RawPath(os.fsencode(path)), NODE, "")
    with pytest.raises(HolderFailed, match=f"cannot hold {path} for the restore: 98 Address already in use"):
        start_holder([point], tree, journal, frozenset(), None)
    assert list(journal.parent.iterdir()) == []


def test_below_another_root_the_name_is_that_of_the_root(journal, tmp_path):
    (tmp_path / "srv").mkdir()
    with Tree(tmp_path) as tree:
        point = HoldBindPoint(RawPath(b"/srv/log"), NODE, "")
        start_holder([point], tree, journal, frozenset(), None)
    with sender(str(tmp_path / "srv/log")) as one:
        assert one.getpeername() == "/srv/log"
    end_holder(journal)
    assert not (tmp_path / "srv/log").exists()


def test_as_many_as_a_plan_allows_are_held_and_handed_over(tree, journal, tmp_path):
    names = [RawPath(os.fsencode(tmp_path / str(number))) for number in range(MOST_HELD)]
    criu = a_process()
    start_holder([HoldBindPoint(name, NODE, "") for name in names], tree, journal, frozenset(), criu)
    for name in names:
        with sender(name) as one:
            one.send(b"x")
    report = end_holder(journal, hand_over=True)
    assert [(one.name, one.messages) for one in report.held] == [(name, 1) for name in names]
    assert [os.fsencode(one.getsockname()) for one in report.sockets] == names
    for one in report.sockets:
        one.close()
    end(criu)


def test_who_is_at_a_name(tree, path):
    name = RawPath(os.fsencode(path))
    assert probe_peer(tree, name) is Peer.NOBODY
    assert probe_peer(tree, RawPath(b"\0" + name)) is Peer.NOBODY
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(bytes(name))
        assert probe_peer(tree, name) is Peer.LISTENS
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(b"\0other" + name)
            daemon.connect(b"\0other" + name)
            assert probe_peer(tree, name) is Peer.REFUSES
    assert probe_peer(tree, name) is Peer.NOBODY
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(bytes(name))
        stream.listen()
        assert probe_peer(tree, name) is Peer.OTHER_TYPE
