"""Processes and threads, their relations and states."""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

from protocol import LIBC, fork, here, make, stat_of, status_of


def threads():
    go, said = threading.Event(), []
    crew = [threading.Thread(target=lambda n=n: (go.wait(), said.append(n)), daemon=True) for n in range(5)]
    for one in crew:
        one.start()
    ids = [one.native_id for one in crew]
    yield
    assert sorted(map(int, os.listdir("/proc/self/task")))[1:] == sorted(ids)
    go.set()
    for one in crew:
        one.join(5)
    assert sorted(said) == [0, 1, 2, 3, 4]


def sessions():
    leader = fork(os.setsid)
    group = fork(lambda: os.setpgid(0, 0))
    yield
    assert [int(field) for field in stat_of(leader)[1:4]] == [os.getpid(), leader, leader]
    assert [int(field) for field in stat_of(group)[1:4]] == [os.getpid(), group, os.getsid(0)]


def dead_leader():
    """Be in a group whose leader is gone."""
    leader = fork(lambda: os.setpgid(0, 0))
    member = fork(lambda: os.setpgid(0, leader))
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    yield
    assert int(stat_of(member)[2]) == leader
    assert not Path(f"/proc/{leader}").exists()


def inherited_session():
    """Be in a session whose leader is outside."""
    while os.fork():
        signal.pause()
    yield
    assert os.getsid(0) != os.getpid()


def zombie():
    child = os.fork()
    if child == 0:
        os._exit(3)
    wait_for_state(child, "Z")
    yield
    assert stat_of(child)[0] == "Z"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


def stopped():
    child = fork()
    os.kill(child, signal.SIGSTOP)
    wait_for_state(child, "T")
    yield
    assert stat_of(child)[0] == "T"
    os.kill(child, signal.SIGCONT)
    wait_for_state(child, "S")


def wait_for_state(pid, state):
    for _ in range(500):
        if stat_of(pid)[0] == state:
            return
        time.sleep(0.01)
    raise AssertionError(f"{pid} is {stat_of(pid)[0]} and not {state}")


def traced():
    child = fork()
    tracer = os.fork()
    if tracer == 0:
        LIBC.ptrace(0x4206, child, 0, 0)  # PTRACE_SEIZE
        while True:
            signal.pause()
    while status_of(child, "TracerPid") != str(tracer):
        time.sleep(0.01)
    yield
    assert status_of(child, "TracerPid") == str(tracer)


def shared_descriptors():
    clone = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
    other = LIBC.syscall(clone, 0x400 | signal.SIGCHLD, 0, 0, 0, 0)  # CLONE_FILES
    if other == 0:
        while True:
            signal.pause()
    fd = make(here("late"), b"opened after")
    yield
    assert os.readlink(f"/proc/{other}/fd/{fd}") == here("late")
    new = os.open("/dev/null", os.O_RDONLY)
    assert os.readlink(f"/proc/{other}/fd/{new}") == "/dev/null"


def vfork():
    """Have a child that waits until its own child ends or runs another program."""
    clone = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
    started, tell = os.pipe()
    child = os.fork()
    if child == 0:
        if LIBC.syscall(clone, 0x4000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:  # CLONE_VFORK
            os.write(tell, b"x")
        while True:
            signal.pause()
    os.read(started, 1)
    yield
    assert stat_of(child)[0] in "SD"


def shared_fs():
    clone = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
    if LIBC.syscall(clone, 0x200 | signal.SIGCHLD, 0, 0, 0, 0) == 0:  # CLONE_FS
        while True:
            signal.pause()
    yield


def with_parent_images():
    """Be dumped in two steps, with memory written between them and before."""
    memory = bytearray(b"p" * (1 << 20))
    fd = make(here("file"), b"and a file")
    yield
    assert memory == b"p" * (1 << 20)
    assert os.pread(fd, 99, 0) == b"and a file"


def robust_futex():
    """Die with a robust mutex: whoever waits for it is told, in restored processes too."""
    libc, shared = ctypes.CDLL(None, use_errno=True), LIBC.mmap(None, ctypes.c_size_t(4096), 3, 0x21, -1, 0)
    attribute = ctypes.create_string_buffer(64)
    mutex = ctypes.c_void_p(shared)
    libc.pthread_mutexattr_init(attribute)
    libc.pthread_mutexattr_setpshared(attribute, 1)
    libc.pthread_mutexattr_setrobust(attribute, 1)
    assert libc.pthread_mutex_init(mutex, attribute) == 0
    child = fork(lambda: libc.pthread_mutex_lock(mutex))
    yield
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert libc.pthread_mutex_lock(mutex) == 130  # EOWNERDEAD
