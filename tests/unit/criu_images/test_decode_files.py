from __future__ import annotations

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._enums import FileType, Shutdown, SocketState, SocketType, TerminalType
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._records import (
    BpfMap,
    EpollTarget,
    Fifo,
    Notify,
    Pipe,
    Terminal,
    TerminalInfo,
    TunFile,
    Watch,
)
from llmux.criu_images.errors import DamagedImage

from .conftest import HANDLE, OWNER


@pytest.fixture
def decoded(maker):
    def decode(entry):
        maker.whole(entry)
        return read_dump(maker.directory).files[entry["id"]]

    return decode


@pytest.mark.demand("no-inode")
def test_a_regular_file(maker, decoded):
    file = decoded(maker.reg(3, "/tmp/log", flags=0o2001, pos=12, size=34, build_id=[0x04030201, 0x08070605]))
    assert (file.name, file.flags, file.pos, file.size, file.mode) == (b"/tmp/log", 0o2001, 12, 34, 0o100644)
    assert file.build_id == bytes(range(1, 9))
    assert not file.external


def test_a_file_without_size_or_mode_demands_none(maker, decoded):
    entry = maker.reg(3, "/tmp/log")
    del entry["reg"]["mode"]
    file = decoded(entry)
    assert (file.size, file.mode, file.build_id) == (None, None, None)


def test_an_inherited_file_has_a_key_and_no_path(maker, decoded):
    file = decoded(maker.reg(3, "file[1f:2a]", ext=True))
    assert (file.name, file.external) == (b"file[1f:2a]", True)


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        (b"", b""),
        (b"/tmp/s\0", b"/tmp/s"),
        (b"/tmp/s", b"/tmp/s"),
        (b"rel\0junk", b"rel"),
        (b"\0abstract\0name\0", b"\0abstract\0name\0"),
    ],
)
@pytest.mark.demand("socket-name-nul")
def test_a_sockets_name_ends_where_the_kernel_ends_it(maker, decoded, stored, name):
    assert decoded(maker.unix(3, stored)).name == name


def test_a_unix_socket(maker, decoded):
    permissions = {"mode": 0o140755, "uid": 5, "gid": 6}
    socket = decoded(
        maker.unix(
            3, b"s\0", state=10, backlog=7, name_dir="/run", deleted=True, file_perms=permissions, shutdown=2
        )
    )
    assert (socket.inode, socket.type, socket.state) == (103, SocketType.STREAM, SocketState.LISTEN)
    assert (socket.backlog, socket.peer, socket.name_dir, socket.deleted) == (7, None, b"/run", True)
    assert (socket.mode, socket.uid, socket.gid, socket.shutdown) == (0o140755, 5, 6, Shutdown.WRITE)
    assert socket.listening
    assert not socket.abstract


@pytest.mark.parametrize(
    ("fields", "binds"),
    [
        ({"name": b"/s", "state": 10}, True),
        ({"name": b"/s", "state": 7}, True),
        ({"name": b"/s", "state": 1}, False),
        ({"name": b"/s", "state": 1, "type": 2}, True),
        ({"name": b"\0s", "state": 10}, True),
        ({"name": b"/s", "state": 10, "type": 2, "uflags": 1}, False),
        ({"name": b"/s", "state": 10, "uflags": 4}, False),
        ({"name": b"", "state": 7}, False),
    ],
    ids=["listening", "only bound", "accepted", "datagram", "abstract", "external", "of a plugin", "unnamed"],
)
def test_what_a_restore_binds(maker, decoded, fields, binds):
    assert decoded(maker.unix(3, **fields)).binds is binds


def test_an_external_socket_listens_to_nobody(maker, decoded):
    assert not decoded(maker.unix(3, b"/dev/log\0", state=10, type=2, uflags=1)).listening


def test_socket_numbers_without_a_name_are_kept(maker, decoded):
    socket = decoded(maker.unix(3, type=77, state=99))
    assert (socket.type, socket.state) == (77, 99)


def test_inet_addresses(maker, decoded):
    words = [0xB80D0120, 0, 0, 0x01000000]
    four = decoded(maker.inet(3))
    six = decoded(maker.inet(3, family=10, src_addr=words, dst_addr=[0] * 4, v6only=True))
    assert (four.source, four.source_port, four.destination, four.listening) == (
        "127.0.0.1",
        80,
        "0.0.0.0",
        True,
    )
    assert (six.source, six.v6only) == ("2001:db8::1", True)


def test_an_address_of_another_family_is_kept_as_bytes(maker, decoded):
    assert decoded(maker.inet(3, family=99)).source == "7f000001"


def test_fifo_and_terminal_lead_to_their_nodes(maker, decoded):
    assert decoded(maker.other(3, 3, "fifo", pipe_id=9, regf_id=1)) == Fifo(3, 9, 1)
    assert decoded(maker.other(3, 3, "fifo", pipe_id=9)) == Fifo(3, 9, 3)
    assert decoded(maker.owned(3, 11, "tty", tty_info_id=5, flags=0, regf_id=2)) == Terminal(3, 5, 2)
    assert decoded(maker.owned(3, 11, "tty", tty_info_id=5, flags=0)) == Terminal(3, 5, None)


def test_a_pipe(maker, decoded):
    assert decoded(maker.owned(3, 2, "pipe", pipe_id=9, flags=1)) == Pipe(3, 9, 1)


def test_watches_carry_absolute_paths(maker, decoded):
    watch = {"id": 3, "i_ino": 5, "mask": 2, "ignored_mask": 0, "s_dev": 6, "wd": 1}
    inotify = decoded(maker.owned(3, 8, "ify", flags=0, wd=[watch | {"f_handle": HANDLE | {"path": "/etc"}}]))
    assert inotify == Notify(3, FileType.INOTIFY, (Watch(1, 5, 6, 2, b"/etc"),))
    mark = {"id": 3, "mflags": 0, "mask": 2, "ignored_mask": 0, "s_dev": 6}
    marks = [
        mark | {"type": 1, "ie": {"i_ino": 5, "f_handle": HANDLE}},
        mark | {"type": 2, "me": {"mnt_id": 4, "path": "srv"}},
        mark | {"type": 2, "me": {"mnt_id": 4}},
    ]
    fanotify = decoded(maker.owned(3, 12, "ffy", flags=0, faflags=0, evflags=0, mark=marks))
    assert fanotify.type is FileType.FANOTIFY
    assert [watch.path for watch in fanotify.watches] == [None, b"/srv", None]


def test_a_shutdown_that_cannot_be(maker):
    maker.whole(maker.unix(3, shutdown=3))
    path = maker.directory / "files.img"
    path.write_bytes(path.read_bytes().replace(b"\x60\x03", b"\x60\x09"))
    with pytest.raises(DamagedImage, match=r"usk\.shutdown: 9 is none of 0 to 3"):
        read_dump(maker.directory)


@pytest.mark.parametrize("namespace", [None, 5])
def test_a_tun_file_shares_its_id_with_the_node_it_was_opened_by(maker, namespace):
    node = maker.reg(3, "/dev/net/tun", mode=0o20666)
    more = {} if namespace is None else {"ns_id": namespace}
    for entries in (
        [node, maker.other(3, FileType.TUNF.value, "tunf", netdev="tap0", **more)],
        [maker.other(3, FileType.TUNF.value, "tunf", netdev="tap0", **more), node],
    ):
        maker.whole(*entries, fds={4: 3})
        dump = read_dump(maker.directory)
        tun = dump.files[3]
        assert tun == TunFile(3, tun.regular_file, b"tap0", namespace)
        assert (dump.files[tun.regular_file].name, tun.regular_file != 3) == (b"/dev/net/tun", True)
        assert dump.unknown == ()


def test_an_old_fifo_or_terminal_shares_its_id_with_its_node(maker):
    fifo = maker.other(3, 3, "fifo", pipe_id=7)
    terminal = maker.owned(4, 11, "tty", tty_info_id=1, flags=0, regf_id=4)
    maker.whole(maker.reg(3, "/fifo", mode=0o10600), fifo, maker.reg(4, "/dev/pts/1", mode=0o20620), terminal)
    dump = read_dump(maker.directory)
    nodes = [dump.files[dump.files[number].regular_file].name for number in (3, 4)]
    assert (nodes, dump.unknown) == ([b"/fifo", b"/dev/pts/1"], ())


def test_two_files_of_one_id_that_do_not_belong_together(maker):
    maker.whole(maker.reg(3, "/a"), maker.other(3, 2, "pipe", pipe_id=1, flags=0, fown=OWNER))
    dump = read_dump(maker.directory)
    assert dump.files[3].name == b"/a"
    assert [item.why for item in dump.unknown] == ["file id 0x3 is used twice; the first counts"]


def test_a_bpf_map(maker, decoded):
    numbers = {"map_type": 1, "key_size": 4, "value_size": 16, "map_id": 77, "max_entries": 100}
    more = {
        "pos": 0,
        "map_flags": 0,
        "memlock": 0,
        "frozen": True,
        "map_name": "flows",
        "ifindex": 0,
        "flags": 2,
    }
    file = decoded(maker.owned(3, 19, "bpf", **numbers, **more))
    assert file == BpfMap(3, 77, "flows", 1, key_size=4, value_size=16, max_entries=100, frozen=True)


@pytest.mark.parametrize(("rdev", "master"), [((5 << 8) | 2, True), (136 << 8, False)])
def test_a_terminal_has_the_facts_of_its_info(maker, rdev, master):
    info = {"id": 9, "type": 1, "locked": True, "exclusive": False, "packet_mode": True, "sid": 7, "pgrp": 8}
    maker.whole(maker.owned(3, 11, "tty", tty_info_id=9, flags=0, regf_id=2))
    maker.image("tty-info.img", "TTY_INFO", "tty_info_entry", info | {"rdev": rdev, "pty": {"index": 4}})
    terminal = read_dump(maker.directory).files[3].terminal
    assert terminal == TerminalInfo(
        9,
        TerminalType.PTY,
        sid=7,
        pgid=8,
        device=rdev,
        index=4,
        locked=True,
        exclusive=False,
        packet_mode=True,
    )
    assert terminal.master is master


def epoll(maker, number, *fds):
    targets = [{"id": number, "tfd": fd, "events": 1, "data": fd * 2} for fd in fds]
    return maker.owned(number, 7, "epfd", flags=2, tfd=targets)


def test_an_epolls_targets_are_the_descriptors_of_the_lowest_pid_that_holds_it(maker):
    maker.whole(maker.reg(3, "/a"), maker.reg(4, "/b"), epoll(maker, 5, 0, 1, 2, 9), fds={})
    child = {"pid": 9, "ppid": 7, "pgid": 7, "sid": 7, "threads": [9]}
    maker.tree({"pid": 7, "ppid": 0, "pgid": 7, "sid": 7, "threads": [7]}, child)
    maker.task(7, {0: 3, 1: 4, 2: 5, 3: 5})
    maker.task(9, {0: 4, 5: 5})
    dump = read_dump(maker.directory)
    assert [(target.fd, target.file) for target in dump.files[5].targets] == [
        (0, 3),
        (1, 4),
        (2, 5),
        (9, None),
    ]
    [details] = [item.details for item in take_inventory(dump).others if item.file.id == 5]
    assert details == "waits for fd 0 (/a), fd 1 (/b), fd 2 (file 0x5), fd 9"


def test_an_epoll_that_nobody_holds_has_numbers_alone(maker, decoded):
    assert decoded(epoll(maker, 3, 8)).targets == (EpollTarget(8, 1, 16),)
