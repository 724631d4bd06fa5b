"""Small dumps made with pycriu's own encoder, whole or damaged on purpose."""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worlds import World

from llmux.criu_images._wire import load_schema

OWNER = {"uid": 0, "euid": 0, "signum": 0, "pid_type": 0, "pid": 0}
_TIMEOUTS = dict.fromkeys(("so_snd_tmo_sec", "so_snd_tmo_usec", "so_rcv_tmo_sec", "so_rcv_tmo_usec"), 0)
_OPTIONS = {"so_sndbuf": 1, "so_rcvbuf": 1} | _TIMEOUTS
_BOUNDS = ("start_code", "end_code", "start_data", "end_data", "start_stack", "start_brk", "brk")
_MM = [f"mm_{name}" for name in (*_BOUNDS, "arg_start", "arg_end", "env_start", "env_end")]

HANDLE = {"bytes": 8, "type": 1, "handle": [1]}
REGULAR_MODE = 0o100644
DIRECTORY_MODE = 0o40755
FILE_PRIVATE, FILE_SHARED, ANON_SHARED, ANON_PRIVATE = 1 << 6, 1 << 7, 1 << 8, 1 << 9
SYSV, SOCKET, MEMFD, PLUGIN = 1 << 10, 1 << 11, 1 << 14, 1 << 27


class DumpMaker:
    """Writes images one by one; `whole` starts with a dump of one process that is complete in itself."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._schema = load_schema()
        self._messages = sys.modules["pycriu.images.pb"]

    def image(
        self, name: str, magic: str, message: str, *entries: dict[str, Any], payload: bytes = b""
    ) -> Path:
        """Write an image, with the same payload after each entry."""
        words = [] if magic == "INVENTORY" else [self._schema.magics["IMG_COMMON"]]
        parts = [struct.pack("=I", word) for word in (*words, self._schema.magics[magic])]
        for fields in entries:
            data = getattr(self._messages, message)(**fields).SerializeToString()
            parts += [struct.pack("=I", len(data)), data, payload]
        path = self.directory / name
        path.write_bytes(b"".join(parts))
        return path

    def whole(self, *files: dict[str, Any], fds: dict[int, int] | None = None) -> None:
        """Write a dump of process 7, whose root and cwd are file 1 and whose exe is file 2; `fds` are descriptor -> file."""
        self.inventory()
        self.tree({"pid": 7, "ppid": 0, "pgid": 7, "sid": 7, "threads": [7, 8]})
        self.task(7, fds or {})
        self.files(self.reg(1, "/", mode=DIRECTORY_MODE), self.reg(2, "/bin/true", size=9), *files)

    def busy(self) -> None:
        """Write a dump with something in every section of a report."""
        link = self.reg(5, "/dev/shm/link_remap.5")
        del link["reg"]["mode"]
        watch = {"id": 17, "i_ino": 9, "mask": 2, "ignored_mask": 0, "s_dev": 6, "wd": 1}
        self.whole(
            self.reg(3, "/tmp/a\nb", flags=0o2001),
            self.reg(4, "/dev/shm/sem.x", size=32),
            link,
            self.unix(6, b"/run/s\0", state=10, backlog=7),
            self.unix(7, b"/run/s\0", peer=108, shutdown=1),
            self.unix(8, peer=107),
            self.unix(9, b"\0name\0x", state=10),
            self.unix(10, b"rel\0", state=7, name_dir="/run"),
            self.unix(11, peer=999),
            self.inet(12),
            self.inet(13, state=1, dst_port=9),
            self.reg(14, "/fifo", mode=0o10600),
            self.other(15, 3, "fifo", pipe_id=1, regf_id=14),
            self.owned(16, 18, "memfd", flags=0, pos=0, inode_id=1),
            self.owned(17, 8, "ify", flags=0, wd=[watch | {"f_handle": HANDLE | {"path": "/etc"}}]),
            self.owned(18, 6, "efd", flags=2, counter=1),
            self.owned(19, 6, "efd", flags=2, counter=0),
            fds={0: 3, 1: 3, 2: 4, 3: 6, 4: 7, 5: 8, 6: 15, 7: 18, 8: 19},
        )
        self.remaps({"orig_id": 4, "remap_id": 5, "remap_type": 0})
        child = {"pid": 9, "ppid": 7, "pgid": 7, "sid": 7, "threads": [9]}
        self.tree({"pid": 7, "ppid": 0, "pgid": 7, "sid": 7, "threads": [7, 8]}, child)
        self.core(9, state=6)
        self.image(
            "sk-queues.img", "SK_QUEUES", "sk_packet_entry", {"id_for": 7, "length": 5}, payload=b"hello"
        )

    def inventory(self, **more: Any) -> None:
        self.image(
            "inventory.img", "INVENTORY", "inventory_entry", {"img_version": 2, "fdinfo_per_id": True, **more}
        )

    def tree(self, *items: dict[str, Any]) -> None:
        """Write the process tree, and a core for each thread but the leaders."""
        self.image("pstree.img", "PSTREE", "pstree_entry", *items)
        for tid in (tid for item in items for tid in item.get("threads", ())[1:]):
            self.thread(tid)

    def thread(self, tid: int, **more: Any) -> None:
        core = {"mtype": 1, "thread_core": {"futex_rla": 0, "futex_rla_len": 0, **more}}
        self.image(f"core-{tid}.img", "CORE", "core_entry", core)

    def task(self, pid: int, fds: dict[int, int], *vmas: dict[str, Any], table: int | None = None) -> None:
        table = pid if table is None else table
        self.core(pid)
        self.image(
            f"ids-{pid}.img",
            "IDS",
            "task_kobj_ids_entry",
            {"vm_id": 1, "files_id": table, "fs_id": 1, "sighand_id": 1},
        )
        self.image(
            f"mm-{pid}.img", "MM", "mm_entry", dict.fromkeys(_MM, 0) | {"exe_file_id": 2, "vmas": vmas}
        )
        self.image(f"fs-{pid}.img", "FS", "fs_entry", {"cwd_id": 1, "root_id": 1})
        entries = [{"id": file, "flags": 0, "type": 1, "fd": fd} for fd, file in fds.items()]
        self.image(f"fdinfo-{table}.img", "FDINFO", "fdinfo_entry", *entries)

    def core(self, pid: int, state: int = 1, **thread: Any) -> None:
        task = {
            "task_state": state,
            "exit_code": 0,
            "personality": 0,
            "flags": 0,
            "blk_sigset": 0,
            "comm": f"comm{pid}",
        }
        more = {"thread_core": {"futex_rla": 0, "futex_rla_len": 0, **thread}} if thread else {}
        self.image(f"core-{pid}.img", "CORE", "core_entry", {"mtype": 1, "tc": task, **more})

    def vma(self, start: int, status: int, shmid: int) -> dict[str, Any]:
        vma = {"start": start, "end": start + 4096, "pgoff": 0, "shmid": shmid, "prot": 1, "flags": 1}
        return vma | {"status": status, "fd": -1}

    def files(self, *entries: dict[str, Any]) -> Path:
        return self.image("files.img", "FILES", "file_entry", *entries)

    def reg(self, number: int, name: str, **more: Any) -> dict[str, Any]:
        fields = {"id": number, "flags": 0, "pos": 0, "fown": OWNER, "name": name, "mode": REGULAR_MODE}
        return {"type": 1, "id": number, "reg": fields | more}

    def unix(self, number: int, name: bytes = b"", **more: Any) -> dict[str, Any]:
        """Make a Unix socket whose inode is 100 more than its id."""
        fields = {
            "id": number,
            "ino": number + 100,
            "type": 1,
            "state": 1,
            "flags": 2,
            "uflags": 0,
            "backlog": 0,
        }
        fields |= {"peer": 0, "fown": OWNER, "opts": _OPTIONS, "name": name}
        return {"type": 5, "id": number, "usk": fields | more}

    def inet(self, number: int, **more: Any) -> dict[str, Any]:
        fields = {
            "id": number,
            "ino": number + 100,
            "family": 2,
            "type": 1,
            "proto": 6,
            "state": 10,
            "src_port": 80,
        }
        fields |= {"dst_port": 0, "flags": 2, "backlog": 5, "src_addr": [0x0100007F], "dst_addr": [0]}
        return {"type": 4, "id": number, "isk": fields | {"fown": OWNER, "opts": _OPTIONS} | more}

    def other(self, number: int, file_type: int, field: str, **fields: Any) -> dict[str, Any]:
        return {"type": file_type, "id": number, field: {"id": number, **fields}}

    def owned(self, number: int, file_type: int, field: str, **fields: Any) -> dict[str, Any]:
        """Make a file of a type that records an owner for signals."""
        return self.other(number, file_type, field, fown=OWNER, **fields)

    def remaps(self, *entries: dict[str, Any]) -> None:
        self.image("remap-fpath.img", "REMAP_FPATH", "remap_file_path_entry", *entries)

    def ghost(self, number: int, content: bytes = b"", **more: Any) -> None:
        fields = {"uid": 1, "gid": 2, "mode": REGULAR_MODE, "dev": 3, "ino": 4, **more}
        self.image(f"ghost-file-{number:x}.img", "GHOST_FILE", "ghost_file_entry", fields, payload=content)


@pytest.fixture
def maker(tmp_path: Path) -> DumpMaker:
    return DumpMaker(tmp_path)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def in_memory() -> Iterator[World]:
    """Yield a world whose `here` is on a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield World(Path(directory))
