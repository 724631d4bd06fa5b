"""Files without a path."""

import ctypes
import fcntl
import mmap
import os
import select
import signal
import struct

from protocol import LIBC, call, fork


def epoll():
    event, other = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
    inner, outer = select.epoll(), select.epoll()
    inner.register(event, select.EPOLLIN)
    outer.register(inner.fileno(), select.EPOLLIN)
    outer.register(other, select.EPOLLIN | select.EPOLLET)
    yield
    assert outer.poll(0) == []
    os.eventfd_write(event, 1)
    assert outer.poll(1) == [(inner.fileno(), select.EPOLLIN)]
    os.eventfd_write(other, 1)
    assert (other, select.EPOLLIN) in outer.poll(1)


def eventfd():
    counter = os.eventfd(41)
    yield
    os.eventfd_write(counter, 1)
    assert os.eventfd_read(counter) == 42


def eventfd_semaphore():
    """CRIU counts on, but forgets EFD_SEMAPHORE: one read takes all."""
    counter = os.eventfd(3, os.EFD_SEMAPHORE)
    yield
    assert os.eventfd_read(counter) == 3


def signalfd():
    mask = (ctypes.c_ulong * 16)(1 << (signal.SIGUSR2 - 1))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    fd = call("signalfd", -1, ctypes.byref(mask), 0)
    os.kill(os.getpid(), signal.SIGUSR2)
    yield
    assert struct.unpack_from("I", os.read(fd, 128))[0] == signal.SIGUSR2


def timerfd():
    fd = call("timerfd_create", 1, os.O_NONBLOCK)
    call("timerfd_settime", fd, 0, struct.pack("qqqq", 3600, 0, 7200, 0), None)
    soon = call("timerfd_create", 1, 0)
    call("timerfd_settime", soon, 0, struct.pack("qqqq", 0, 10_000_000, 0, 10_000_000), None)
    yield
    now = ctypes.create_string_buffer(32)
    call("timerfd_gettime", fd, now)
    period, _, left, _ = struct.unpack("qqqq", now.raw)
    assert period == 3600
    assert 7000 < left <= 7200
    assert struct.unpack("Q", os.read(soon, 8))[0] > 0


def memfd():
    plain = os.memfd_create("plain")
    os.write(plain, b"in memory")
    sealed = os.memfd_create(b"odd \xff name", os.MFD_ALLOW_SEALING)
    os.ftruncate(sealed, 8192)
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    mapped = mmap.mmap(sealed, 8192)
    mapped[5000:5003] = b"map"
    yield
    assert os.pread(plain, 99, 0) == b"in memory"
    assert os.lseek(plain, 0, os.SEEK_CUR) == 9
    assert os.pread(sealed, 3, 5000) == b"map"
    mapped[0] = 7
    assert os.pread(sealed, 1, 0) == b"\7"
    assert fcntl.fcntl(sealed, fcntl.F_GET_SEALS) == fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    assert b"odd \xff name" in os.readlink(b"/proc/self/fd/%d" % sealed)


def memfd_huge():
    """Size a memfd of huge pages; no page of it is touched, so none has to be free."""
    fd = os.memfd_create("huge", os.MFD_HUGETLB)
    os.ftruncate(fd, 4 << 20)
    yield
    assert os.fstat(fd).st_size == 4 << 20
    assert os.fstat(fd).st_blksize == 2 << 20


def shared_memory():
    memory = mmap.mmap(-1, 8192, mmap.MAP_SHARED)
    memory[:5] = b"ready"
    asked, ask = os.pipe()
    answered, reply = os.pipe()
    if os.fork() == 0:
        os.read(asked, 1)
        memory[5:9] = b"heard"[1:]
        os.write(reply, b"x")
        os._exit(0)
    yield
    os.write(ask, b"x")
    os.read(answered, 1)
    assert memory[:9] == b"readyeard"


def pidfd():
    child = fork()
    fd = os.pidfd_open(child)
    yield
    signal.pidfd_send_signal(fd, signal.SIGKILL)
    assert os.waitid(os.P_PIDFD, fd, os.WEXITED).si_pid == child


def bpf_map():
    fd = bpf(0, struct.pack("IIIII", 1, 4, 8, 16, 0))  # BPF_MAP_CREATE, a hash of 16 from 4 bytes to 8
    key, value = ctypes.create_string_buffer(b"key\0"), ctypes.create_string_buffer(b"in a map")
    attribute = struct.pack("IxxxxQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0)
    bpf(2, attribute)
    yield
    ctypes.memset(value, 0, 8)
    bpf(1, attribute)
    assert value.raw[:8] == b"in a map"


def bpf(command, attribute):
    number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
    return call("syscall", number, command, attribute.ljust(128, b"\0"), 128)


def userfaultfd():
    number = {"x86_64": 323, "aarch64": 282}[os.uname().machine]
    fd = call("syscall", number, os.O_CLOEXEC)
    yield
    os.fstat(fd)


def io_uring():
    fd = call("syscall", 425, 4, ctypes.create_string_buffer(120))
    yield
    os.fstat(fd)


def aio():
    setup = {"x86_64": 206, "aarch64": 0}[os.uname().machine]
    context = ctypes.c_ulong(0)
    call("syscall", setup, 8, ctypes.byref(context))
    yield
    events = {"x86_64": 208, "aarch64": 4}[os.uname().machine]
    nothing = struct.pack("qq", 0, 0)
    assert LIBC.syscall(events, context, 0, 8, ctypes.create_string_buffer(256), nothing) == 0


def huge_mapping():
    """Map huge pages without touching any."""
    memory = LIBC.mmap(
        None, ctypes.c_size_t(2 << 20), 0, 0x4_4022, -1, 0
    )  # PRIVATE, ANONYMOUS, NORESERVE, HUGETLB
    assert memory not in {None, ctypes.c_void_p(-1).value}
    yield
    with open("/proc/self/smaps") as maps:
        assert "KernelPageSize:     2048 kB" in maps.read()
