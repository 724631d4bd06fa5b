from __future__ import annotations

import os

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._enums import FileType, MappingKind, RemapType, SeccompMode, TaskState
from llmux.criu_images._records import (
    Descriptor,
    GhostFile,
    Memfd,
    OtherFile,
    PipeData,
    Remap,
    SysvSegment,
    TcpQueues,
)
from llmux.criu_images.errors import DamagedImage, NotADump, UnreadableImage

from .conftest import ANON_PRIVATE, ANON_SHARED, FILE_PRIVATE, FILE_SHARED, MEMFD, PLUGIN, SOCKET, SYSV


def test_a_task_is_joined_from_its_images(maker):
    maker.whole(maker.reg(3, "/tmp/log"), fds={0: 3, 5: 3})
    dump = read_dump(maker.directory)
    task = dump.tasks[0]
    assert dump.root_task == 7
    assert (task.pid, task.ppid, task.threads, task.comm, task.state) == (
        7,
        0,
        (7, 8),
        "comm7",
        TaskState.ALIVE,
    )
    assert (task.exe, task.cwd, task.root) == (2, 1, 1)
    assert task.descriptors == (Descriptor(0, 3, 0), Descriptor(5, 3, 0))
    assert task.seccomp is SeccompMode.DISABLED


def test_seccomp_is_the_leaders(maker):
    maker.whole()
    maker.core(7, seccomp_mode=2)
    assert read_dump(maker.directory).tasks[0].seccomp is SeccompMode.FILTER


def test_tasks_that_share_a_descriptor_table_both_hold_what_is_in_it(maker):
    maker.whole(fds={3: 1})
    child = {"pid": 9, "ppid": 7, "pgid": 7, "sid": 7, "threads": [9]}
    maker.tree({"pid": 7, "ppid": 0, "pgid": 7, "sid": 7, "threads": [7]}, child)
    maker.task(7, {3: 1}, table=44)
    maker.task(9, {3: 1}, table=44)
    assert [task.descriptors for task in read_dump(maker.directory).tasks] == [(Descriptor(3, 1, 0),)] * 2


def test_an_old_dump_names_descriptor_tables_by_pid(maker):
    maker.whole(fds={3: 1})
    maker.inventory(fdinfo_per_id=False)
    (maker.directory / "ids-7.img").unlink()
    assert read_dump(maker.directory).tasks[0].descriptors == (Descriptor(3, 1, 0),)


@pytest.mark.parametrize("state", [2, 6])
def test_a_zombie_has_nothing_but_its_core_and_its_thread_id_is_no_id(maker, state):
    maker.whole()
    zombie = {"pid": 9, "ppid": 7, "pgid": 7, "sid": 7, "threads": [88993488]}
    maker.tree({"pid": 7, "ppid": 0, "pgid": 7, "sid": 7, "threads": [7]}, zombie)
    maker.core(9, state=state)
    task = read_dump(maker.directory).tasks[1]
    assert (task.threads, task.exe, task.descriptors, task.mappings) == ((9,), None, (), ())


def test_mappings_are_told_apart_by_their_status(maker):
    maker.whole(maker.owned(3, 18, "memfd", flags=0, pos=0, inode_id=1))
    statuses = {
        FILE_PRIVATE: 2,
        FILE_SHARED: 2,
        FILE_SHARED | MEMFD: 3,
        FILE_SHARED | PLUGIN: 2,
        SYSV | ANON_SHARED: 99,
    }
    no_files = (
        maker.vma(1 << 20, ANON_SHARED, 12345),
        maker.vma(2 << 20, ANON_PRIVATE, 0) | {"flags": 0x40022},
        maker.vma(3 << 20, SOCKET, 9),
        maker.vma(4 << 20, ANON_PRIVATE, 0),
    )
    maker.task(
        7,
        {},
        *(maker.vma(4096 * n, status, id_) for n, (status, id_) in enumerate(statuses.items())),
        *no_files,
    )
    assert [(mapping.kind, mapping.file) for mapping in read_dump(maker.directory).tasks[0].mappings] == [
        (MappingKind.FILE_PRIVATE, 2),
        (MappingKind.FILE_SHARED, 2),
        (MappingKind.MEMFD, 3),
        (MappingKind.PLUGIN, 2),
        (MappingKind.SYSV, None),
        (MappingKind.ANONYMOUS_SHARED, None),
        (MappingKind.HUGE_PAGES, None),
        (MappingKind.SOCKET, None),
    ]


def test_remaps_and_ghosts(maker):
    maker.whole(maker.reg(3, "/tmp/gone"), maker.reg(4, "/tmp/link_remap.4"), maker.reg(5, "/tmp/ghost"))
    maker.remaps(
        {"orig_id": 3, "remap_id": 4, "remap_type": 0}, {"orig_id": 5, "remap_id": 26, "remap_type": 1}
    )
    maker.ghost(26, b"content")
    dump = read_dump(maker.directory)
    assert dump.remaps == (Remap(3, 4, RemapType.LINKED), Remap(5, 26, RemapType.GHOST))
    assert dump.ghosts == {26: GhostFile(26, 0o100644, 1, 2, size=7, device=3, inode=4, symlink_target=None)}


def test_a_remap_of_before_remap_types_tells_a_ghost_by_its_top_bit(maker):
    maker.whole(maker.reg(3, "/tmp/gone"), maker.reg(4, "/tmp/link_remap.4"), maker.reg(5, "/tmp/ghost"))
    maker.remaps({"orig_id": 3, "remap_id": 4}, {"orig_id": 5, "remap_id": 1 << 31 | 1})
    maker.ghost(1)
    assert read_dump(maker.directory).remaps == (Remap(3, 4, RemapType.LINKED), Remap(5, 1, RemapType.GHOST))


def test_what_is_queued(maker):
    maker.whole()
    maker.image(
        "sk-queues.img",
        "SK_QUEUES",
        "sk_packet_entry",
        {"id_for": 3, "length": 2, "scm": [{"type": 1, "rights": [1, 2]}]},
        payload=b"hi",
    )
    maker.image("pipes-data.img", "PIPES_DATA", "pipe_data_entry", {"pipe_id": 1, "bytes": 3}, payload=b"abc")
    maker.image("fifo-data.img", "FIFO_DATA", "pipe_data_entry", {"pipe_id": 2, "bytes": 0})
    numbers = dict.fromkeys(("inq_seq", "outq_seq", "opt_mask", "snd_wscale", "mss_clamp"), 0)
    maker.image(
        "tcp-stream-1f.img",
        "TCP_STREAM",
        "tcp_stream_entry",
        {"inq_len": 4, "outq_len": 5, **numbers},
        payload=b"123456789",
    )
    dump = read_dump(maker.directory)
    assert [(packet.socket, packet.length, packet.rights) for packet in dump.packets] == [(3, 2, (1, 2))]
    assert dump.pipe_data == (PipeData(1, 3), PipeData(2, 0))
    assert dump.tcp_queues == (TcpQueues(0x1F, received=4, unsent=5),)


def test_a_memfd_takes_its_name_and_size_from_its_inode(maker):
    maker.whole(maker.owned(3, 18, "memfd", flags=0, pos=0, inode_id=8))
    inode = {"name": "ring", "uid": 0, "gid": 0, "size": 4096, "shmid": 1, "seals": 0, "inode_id": 8}
    maker.image("memfd.img", "MEMFD_INODE", "memfd_inode_entry", inode)
    assert read_dump(maker.directory).files[3] == Memfd(3, 8, b"ring", 4096)


@pytest.mark.demand("plugin")
def test_namespaces_locks_and_plugins(maker):
    maker.whole()
    maker.inventory(plugins_entry={"plugins": ["cuda_plugin"]})
    mount = {
        "fstype": 5,
        "mnt_id": 2,
        "root_dev": 0,
        "parent_mnt_id": 1,
        "flags": 0,
        "root": "/",
        "mountpoint": "/tmp",
        "source": "tmpfs",
        "options": "",
    }
    maker.image("mountpoints-13.img", "MNTS", "mnt_entry", mount)
    lock = {"flag": 2, "type": 1, "pid": 7, "fd": 3, "start": 0, "len": 0}
    maker.image("filelocks.img", "FILE_LOCKS", "file_lock_entry", lock)
    description = dict.fromkeys(("uid", "gid", "cuid", "cgid"), 0) | {"key": 5, "mode": 0o600, "id": 1}
    maker.image(
        "ipcns-shm-9.img", "IPCNS_SHM", "ipc_shm_entry", {"desc": description, "size": 9, "in_pagemaps": True}
    )
    dump = read_dump(maker.directory)
    assert dump.plugins == ("cuda_plugin",)
    assert [mount.mountpoint for mount in dump.mounts] == [b"/tmp"]
    assert [lock.pid for lock in dump.locks] == [7]
    assert dump.sysv_segments == (SysvSegment(key=5, id=1, size=9, mode=0o600),)


@pytest.mark.demand("unknown-entry")
def test_what_this_release_does_not_know_is_kept_and_reported(maker):
    maker.whole({"type": 20, "id": 3}, {"type": 6, "id": 4}, maker.reg(1, "/again"))
    path = maker.directory / "files.img"
    path.write_bytes(path.read_bytes().replace(b"\x08\x14\x10\x03", b"\x08\x63\x10\x03"))
    dump = read_dump(maker.directory)
    assert dump.files[3] == OtherFile(3, 99)
    assert dump.files[4] == OtherFile(4, FileType.EVENTFD)
    assert [(item.image, item.entry) for item in dump.unknown] == [("files.img", 2), ("files.img", 4)]


def test_a_parent_link_is_left_alone(maker):
    maker.whole()
    (maker.directory / "parent").symlink_to("/nowhere")
    assert read_dump(maker.directory).root_task == 7


def test_a_linked_directory_may_be_read(maker, tmp_path_factory):
    maker.whole()
    link = tmp_path_factory.mktemp("elsewhere") / "dump"
    link.symlink_to(maker.directory)
    assert read_dump(link).root_task == 7


@pytest.mark.parametrize(
    "name", ["inventory", "pstree", "files", "core-7", "mm-7", "fs-7", "ids-7", "fdinfo-7"]
)
def test_an_image_that_every_dump_has_is_missed_by_name(maker, name):
    maker.whole()
    (maker.directory / f"{name}.img").unlink()
    with pytest.raises(NotADump, match=f"{maker.directory} is not a CRIU dump: it has no {name}.img"):
        read_dump(maker.directory)


@pytest.mark.parametrize("name", ["inventory", "pstree", "core-7", "mm-7", "fs-7"])
def test_an_image_with_no_entry_is_damaged(maker, name):
    maker.whole()
    path = maker.directory / f"{name}.img"
    path.write_bytes(path.read_bytes()[: 4 if name == "inventory" else 8])
    with pytest.raises(DamagedImage, match=f"{name}.img"):
        read_dump(maker.directory)


def test_an_image_that_is_a_link_is_not_followed(maker):
    maker.whole()
    (maker.directory / "files.img").rename(maker.directory / "elsewhere")
    (maker.directory / "files.img").symlink_to("elsewhere")
    with pytest.raises(UnreadableImage, match=r"files\.img"):
        read_dump(maker.directory)


def test_an_image_that_is_a_fifo_is_refused_without_waiting(maker):
    maker.whole()
    (maker.directory / "files.img").unlink()
    os.mkfifo(maker.directory / "files.img")
    with pytest.raises(UnreadableImage, match="not a regular file"):
        read_dump(maker.directory)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(NotADump, match="No such file or directory"):
        read_dump(tmp_path / "nowhere")


@pytest.mark.parametrize("ppid", [7, 1])
def test_the_root_has_no_parent(maker, ppid):
    maker.whole()
    maker.tree({"pid": 7, "ppid": ppid, "pgid": 7, "sid": 7})
    with pytest.raises(DamagedImage, match=f"entry 0, field ppid: {ppid} is no task before it"):
        read_dump(maker.directory)


def test_names_in_errors_are_printable(tmp_path):
    with pytest.raises(NotADump, match=r"a\\nb\\xff is not a CRIU dump"):
        read_dump(os.fsdecode(bytes(tmp_path) + b"/a\nb\xff"))


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (
            lambda maker: maker.task(7, {3: 99}),
            "fdinfo-7.img, entry 0, field id: file 0x63 is not in files.img",
        ),
        (
            lambda maker: maker.task(7, {}, maker.vma(4096, FILE_SHARED, 99)),
            r"mm-7.img, field vmas \(at 1000\)",
        ),
        (
            lambda maker: maker.remaps({"orig_id": 99, "remap_id": 1, "remap_type": 0}),
            "remap-fpath.img, entry 0, field orig_id",
        ),
        (
            lambda maker: maker.remaps({"orig_id": 1, "remap_id": 99, "remap_type": 0}),
            "remap-fpath.img, entry 0, field remap_id",
        ),
        (
            lambda maker: maker.files(maker.reg(1, "relative"), maker.reg(2, "/x")),
            "files.img, entry 0, field reg.name",
        ),
        (
            lambda maker: maker.files(maker.reg(1, "/a\0b"), maker.reg(2, "/x")),
            "reg.name: a path with a NUL byte",
        ),
        (lambda maker: maker.files({"type": 1, "id": 1}), "files.img, entry 0, field reg: is missing"),
        (
            lambda maker: maker.tree(
                {"pid": 7, "ppid": 0, "pgid": 7, "sid": 7}, {"pid": 7, "ppid": 7, "pgid": 7, "sid": 7}
            ),
            "pstree.img, entry 1, field pid: 7 is listed twice",
        ),
        (
            lambda maker: maker.tree(
                {"pid": 7, "ppid": 0, "pgid": 7, "sid": 7}, {"pid": 8, "ppid": 9, "pgid": 7, "sid": 7}
            ),
            "pstree.img, entry 1, field ppid: 9 is no task before it",
        ),
        (lambda maker: maker.task(7, {}, maker.vma(4096, FILE_SHARED, 2) | {"end": 4096}), r"vmas\[0\].end"),
        (
            lambda maker: maker.files(maker.inet(1, family=10), maker.reg(2, "/x")),
            "isk.src_addr: 4 bytes are no address of family 10",
        ),
    ],
)
def test_ids_and_fields_that_lead_nowhere_are_named(maker, damage, place):
    maker.whole()
    damage(maker)
    with pytest.raises(DamagedImage, match=place):
        read_dump(maker.directory)
