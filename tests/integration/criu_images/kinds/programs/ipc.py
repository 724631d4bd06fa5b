"""System V and POSIX IPC."""

import ctypes
import os
import struct

from protocol import LIBC, call

LIBC.shmat.restype = ctypes.c_void_p
CREATE, NOWAIT, NEW_IPC = 0o1000, 0o4000, 0x08000000


def attach(identifier):
    address = LIBC.shmat(identifier, None, 0)
    assert address not in {None, ctypes.c_void_p(-1).value}
    return address


def sysv():
    call("unshare", NEW_IPC)
    segment = call("shmget", 0x11AA, 10_000, CREATE | 0o640)
    address = attach(segment)
    ctypes.memmove(address, b"attached", 8)
    semaphores = call("semget", 0x44DD, 2, CREATE | 0o600)
    call("semctl", semaphores, 1, 16, 5)  # SETVAL
    queue = call("msgget", 0x33CC, CREATE | 0o600)
    call("msgsnd", queue, struct.pack("q8s", 3, b"a letter"), 8, 0)
    yield
    assert ctypes.string_at(address, 8) == b"attached"
    assert ctypes.string_at(attach(call("shmget", 0x11AA, 0, 0)), 8) == b"attached"
    assert call("semctl", call("semget", 0x44DD, 0, 0), 1, 12) == 5  # GETVAL
    received = ctypes.create_string_buffer(16)
    assert call("msgrcv", call("msgget", 0x33CC, 0), received, 8, 3, NOWAIT) == 8
    assert received.raw[8:] == b"a letter"


def sysv_shared():
    segment = call("shmget", 0x55EE, 4096, CREATE | 0o600)
    address = attach(segment)
    yield
    assert ctypes.string_at(address, 1) == b"\0"


def mqueue():
    rt = ctypes.CDLL("librt.so.1", use_errno=True)
    fd = rt.mq_open(b"/kinds-queue", os.O_RDWR | os.O_CREAT, 0o600, None)
    assert fd >= 0
    yield
    assert os.fstat(fd)
