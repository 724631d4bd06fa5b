"""Facts read from the running machine, held against what the same process knows by other means."""

from __future__ import annotations

import mmap
import os
import socket
import subprocess  # noqa: TID251 - a task whose id nobody else has for a group or a session
import time
from contextlib import suppress
from pathlib import Path

import pytest
from manifests import inode

from llmux.criu_images import _observe as observe
from llmux.criu_images._facts import MountPoint
from llmux.criu_images._origin import ContainerStart, is_kernel_made, judge
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import inspect_fd
from llmux.criu_images.manifest import Origin


def test_a_mount_line_with_odd_names():
    line = rb"36 35 98:0 /mnt1 /a\040b\134c\012d rw,noatime master:1 shared:2 - ext3 /dev/ro\134ot rw"
    assert observe._parse_mount(line) == MountPoint(
        36,
        35,
        "98:0",
        RawPath(b"/mnt1"),
        RawPath(b"/a b\\c\nd"),
        "ext3",
        RawPath(b"/dev/ro\\ot"),
        shared=True,
    )


def test_whoever_has_a_file_open_or_mapped_is_seen(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as ours:
        assert observe.is_held(ours.fileno()) is False
        with path.open("rb"):
            assert observe.is_held(ours.fileno()) is True
        with path.open("r+b") as other:
            mapping = mmap.mmap(other.fileno(), 0)
        assert observe.is_held(ours.fileno()) is True
        mapping.close()
        assert observe.is_held(ours.fileno()) is False


def test_every_file_has_a_mount_of_this_namespace(tmp_path):
    ids = {mount.id for mount in observe.read_mounts()}
    fd = os.open(tmp_path, os.O_PATH)
    try:
        assert inspect_fd(fd).mount in ids
    finally:
        os.close(fd)


def test_birth_times_are_times_of_birth(tmp_path):
    before = time.time_ns() - 10**9
    (tmp_path / "new").touch()
    os.utime(tmp_path / "new", (1, 1))
    fd = os.open(tmp_path / "new", os.O_RDONLY)
    try:
        birth = inspect_fd(fd).birth_ns
    finally:
        os.close(fd)
    assert birth is not None
    assert before < birth < time.time_ns() + 10**9


def test_ids_in_use():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.read(reader, 1)
        os._exit(0)
    try:
        ids = observe.read_ids()
        assert child in ids
        assert os.getpid() not in ids or "process group" in ids[os.getpid()] or "session" in ids[os.getpid()]
    finally:
        os.write(writer, b"x")
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    assert child not in observe.read_ids()


@pytest.mark.parametrize(
    ("family", "kind", "address"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
        (socket.AF_INET6, socket.SOCK_STREAM, "::1"),
        (socket.AF_INET, socket.SOCK_DGRAM, "0.0.0.0"),
    ],
)
def test_ports_in_use(family, kind, address):
    with socket.socket(family, kind) as server:
        server.bind((address, 0))
        if kind is socket.SOCK_STREAM:
            server.listen()
        port = server.getsockname()[1]
        found = [item for item in observe.read_ports() if item.port == port and item.family == family]
        assert [item.address for item in found] == [address]


@pytest.mark.parametrize("name", [b"\0llmux test", b"\0two\nlines\n", b"\0in\0side", b"\0\xff"])
def test_abstract_names(name):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        assert name.replace(b"\0", b"@") in observe.read_socket_names()
    assert name.replace(b"\0", b"@") not in observe.read_socket_names()


def test_the_processors_features_are_the_ones_code_is_compiled_for():
    features = observe.read_processor().features
    assert features
    assert not features & {"constant_tsc", "nopl", "cpuid", "hypervisor", "smep", "smap", "fpu", "ibrs"}


def test_a_private_mount_namespace_is_believed_only_by_its_number(monkeypatch):
    here = str(Path("/proc/self/ns/mnt").readlink())
    with suppress(PermissionError):
        if str(Path("/proc/1/ns/mnt").readlink()) != here:
            pytest.skip("this is not PID 1's mount namespace")
    monkeypatch.setenv(observe.PRIVATE_MOUNTS_VARIABLE, "mnt:[1]")
    assert not observe.has_private_mounts()
    monkeypatch.setenv(observe.PRIVATE_MOUNTS_VARIABLE, here)
    assert observe.has_private_mounts()


OVERLAY = MountPoint(1, 0, "0:1", RawPath(b"/"), RawPath(b"/"), "overlay", RawPath(b"overlay"))
VOLUME = MountPoint(2, 1, "8:1", RawPath(b"/"), RawPath(b"/models"), "ext4", RawPath(b"/dev/sda"))
SHM = MountPoint(3, 1, "0:2", RawPath(b"/"), RawPath(b"/dev/shm"), "tmpfs", RawPath(b"shm"))
BIG = 1 << 30


@pytest.mark.parametrize(
    ("mount", "birth", "size", "written", "origin", "carried"),
    [
        (OVERLAY, 99, 1, False, Origin.IMAGE, False),
        (OVERLAY, 99, 1, True, Origin.IMAGE, True),
        (OVERLAY, 99, BIG, True, Origin.IMAGE, False),
        (OVERLAY, 100, BIG, False, Origin.RUN_TIME, True),
        (OVERLAY, None, 1, False, Origin.RUN_TIME, True),
        (OVERLAY, None, BIG, False, Origin.IMAGE, False),
        (VOLUME, 99, 1, False, Origin.VOLUME, False),
        (VOLUME, 100, 1, False, Origin.VOLUME, True),
        (VOLUME, 100, BIG, False, Origin.VOLUME, False),
        (VOLUME, 99, 1, True, Origin.VOLUME, True),
        (SHM, 99, BIG, False, Origin.RUN_TIME, True),
    ],
)
def test_origins(mount, birth, size, written, origin, carried):  # noqa: PLR0917 - the table's columns
    start = ContainerStart(100, "a test")
    verdict = judge(inode(size=size, birth_ns=birth), mount, OVERLAY.id, start, written=written)
    assert (verdict.origin, verdict.carried) == (origin, carried)
    assert verdict.reason


def test_a_root_of_memory_is_judged_by_birth():
    root = MountPoint(3, 1, "0:2", RawPath(b"/"), RawPath(b"/"), "tmpfs", RawPath(b"root"))
    verdict = judge(inode(birth_ns=99), root, root.id, ContainerStart(100, ""), written=False)
    assert verdict.origin is Origin.IMAGE


def test_file_systems_of_the_kernel():
    assert is_kernel_made(MountPoint(1, 0, "", RawPath(b"/"), RawPath(b"/proc"), "proc", RawPath(b"")))
    assert not is_kernel_made(SHM)


def test_the_containers_start_is_the_birth_of_its_overlay():
    start = observe.find_container_start(inode(birth_ns=77), OVERLAY)
    assert start.ns == 77


def test_without_an_overlay_the_start_is_in_the_past():
    disk = MountPoint(1, 0, "8:1", RawPath(b"/"), RawPath(b"/"), "ext4", RawPath(b"/dev/sda"))
    start = observe.find_container_start(inode(birth_ns=77), disk)
    assert 10**9 * 10**8 < start.ns < time.time_ns()
    assert start.known_by


def test_mounts_are_told_as_a_tree_below_another_root_has_them():
    inside = {mount.id: mount.mountpoint for mount in observe.read_mounts_at(Path("/dev"))}
    outside = {mount.id: mount.mountpoint for mount in observe.read_mounts()}
    assert inside.keys() == outside.keys()
    for number, path in outside.items():
        assert inside[number] == (path.removeprefix(b"/dev") if path.startswith(b"/dev/") else b"/")
    assert observe.read_mounts_at(Path("/")) == observe.read_mounts()


def test_the_id_of_the_task_that_waits_to_be_restored_is_free_for_it():
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as task:
        assert task.pid in observe.read_ids()
        assert task.pid not in observe.read_ids(task.pid)
        task.kill()
