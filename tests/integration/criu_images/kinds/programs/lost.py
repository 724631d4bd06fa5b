"""Files that have lost their name."""

import ctypes
import os
from pathlib import Path

from protocol import LIBC, fork, here, make

LIBC.sem_open.restype = ctypes.c_void_p


def ghost():
    fd = make(here("ghost"), b"still readable", mode=0o640)
    os.fchown(fd, 12, 34)
    os.unlink(here("ghost"))
    yield
    now = os.fstat(fd)
    assert os.pread(fd, 99, 0) == b"still readable"
    assert (now.st_nlink, now.st_uid, now.st_gid, now.st_mode) == (0, 12, 34, 0o100640)
    assert os.listdir(here()) == []


def ghost_without_directory():
    os.makedirs(here("a/b"))
    fd = make(here("a/b/ghost"), b"no directory either")
    os.unlink(here("a/b/ghost"))
    os.removedirs(here("a/b"))
    yield
    assert os.pread(fd, 99, 0) == b"no directory either"
    assert not Path("/srv/kinds/lost.ghost_without_directory/a").exists()


def ghost_too_great():
    fd = make(here("great"), b"g" * (2 << 20))
    os.unlink(here("great"))
    yield
    assert os.fstat(fd).st_size == 2 << 20


def ghost_directory():
    os.mkdir(here("gone"))
    fd = os.open(here("gone"), os.O_RDONLY | os.O_DIRECTORY)
    child = fork(lambda: os.chdir(here("gone")))
    os.rmdir(here("gone"))
    yield
    assert os.fstat(fd).st_nlink == 0
    assert os.readlink(f"/proc/{child}/cwd").endswith(" (deleted)")


def ghost_hard_links():
    one = make(here("one"), b"one inode")
    os.link(here("one"), here("two"))
    two = os.open(here("two"), os.O_RDWR)
    os.unlink(here("one"))
    os.unlink(here("two"))
    yield
    os.pwrite(one, b"ONE", 0)
    assert os.pread(two, 9, 0) == b"ONE inode"
    assert os.fstat(one).st_nlink == 0


def tmpfile():
    fd = os.open("/var/tmp", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"never had a name")
    yield
    assert os.pread(fd, 99, 0) == b"never had a name"
    assert os.lseek(fd, 0, os.SEEK_CUR) == 16


def link_remap():
    fd = make(here("lost"), b"two names")
    os.link(here("lost"), here("living"))
    os.unlink(here("lost"))
    yield
    os.pwrite(fd, b"TWO", 0)
    assert Path(here("living")).read_bytes() == b"TWO names"
    assert os.listdir(here()) == ["living"]


def semaphore():
    held = LIBC.sem_open(b"/kinds-semaphore", os.O_CREAT, 0o600, 3)
    assert held
    yield
    again = LIBC.sem_open(b"/kinds-semaphore", 0)
    LIBC.sem_post(ctypes.c_void_p(held))
    value = ctypes.c_int()
    LIBC.sem_getvalue(ctypes.c_void_p(again), ctypes.byref(value))
    assert value.value == 4


def link_remap_unasked():
    yield from link_remap()


def link_remap_left_running():
    yield from link_remap()
