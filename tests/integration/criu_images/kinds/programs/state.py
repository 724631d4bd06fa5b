"""What a process carries along: signals, timers, rights, limits."""

import ctypes
import errno
import os
import resource
import signal
import struct
import threading
import time
from pathlib import Path

from protocol import LIBC, call, fork, leave_a_parent_outside, status_of


def signals():
    caught = []
    signal.signal(signal.SIGUSR2, lambda *_: caught.append("caught"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGRTMIN])
    os.kill(os.getpid(), signal.SIGUSR2)
    LIBC.sigqueue(os.getpid(), signal.SIGRTMIN, ctypes.c_void_p(77))
    yield
    assert {signal.SIGUSR2, signal.SIGRTMIN} <= signal.sigpending()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert int(status_of("self", "SigIgn"), 16) & 1
    assert signal.sigwaitinfo([signal.SIGRTMIN]).si_signo == signal.SIGRTMIN
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
    assert caught == ["caught"]


def timers():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGRTMIN])
    signal.setitimer(signal.ITIMER_REAL, 3600, 7200)
    timer = ctypes.c_void_p()
    event = struct.pack("qii48x", 0, signal.SIGRTMIN, 0)
    call("timer_create", 1, event, ctypes.byref(timer))
    call("timer_settime", timer, 0, struct.pack("qqqq", 3600, 0, 7200, 0), None)
    yield
    left, period = signal.getitimer(signal.ITIMER_REAL)
    assert 3400 < left <= 3600
    assert period == 7200
    now = ctypes.create_string_buffer(32)
    call("timer_gettime", timer, now)
    period, _, left, _ = struct.unpack("qqqq", now.raw)
    assert period == 3600
    assert 7000 < left <= 7200


def prctl():
    call("prctl", 15, b"by another name", 0, 0, 0)  # SET_NAME
    call("prctl", 38, 1, 0, 0, 0)  # SET_NO_NEW_PRIVS
    call("prctl", 36, 1, 0, 0, 0)  # SET_CHILD_SUBREAPER
    call("prctl", 4, 0, 0, 0, 0)  # SET_DUMPABLE
    yield
    assert Path("/proc/self/comm").read_text() == "by another name\n"
    assert status_of("self", "NoNewPrivs") == "1"
    assert call("prctl", 3, 0, 0, 0, 0) == 0
    value = ctypes.c_int()
    call("prctl", 37, ctypes.byref(value), 0, 0, 0)
    assert value.value == 1


def parent_death():
    """Have a grandchild that ends by SIGTERM when its parent does."""
    call("prctl", 36, 1, 0, 0, 0)  # SET_CHILD_SUBREAPER: it is waited for here then
    told, tell = os.pipe()

    def have_a_child():
        grandchild = fork(lambda: call("prctl", 1, signal.SIGTERM, 0, 0, 0))  # SET_PDEATHSIG
        os.write(tell, str(grandchild).encode())

    child = fork(have_a_child)
    grandchild = int(os.read(told, 9))
    yield
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended(grandchild)) == -signal.SIGTERM


def ended(pid):
    """Return how a child ended."""
    for _ in range(500):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.01)
    raise AssertionError(f"{pid} lives on")


def seccomp():
    """Have getpriority(2) answered with EXDEV by a filter, in each thread."""
    number = {"x86_64": 140, "aarch64": 141}[os.uname().machine]
    program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | 18), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    call("prctl", 38, 1, 0, 0, 0)
    call("prctl", 22, 2, struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)), 0, 0)
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    yield
    assert status_of("self", "Seccomp") == "2"
    assert LIBC.getpriority(0, 0) == -1
    assert ctypes.get_errno() == 18


def capabilities():
    for number in (21, 25):  # SYS_ADMIN, SYS_TIME leave the bounding set
        call("prctl", 24, number, 0, 0, 0)
    header, data = struct.pack("Ii", 0x20080522, 0), struct.pack("IIIIII", 0x401, 0x401, 0, 0, 0, 0)
    call("capset", header, data)  # CHOWN and NET_BIND_SERVICE alone
    yield
    assert int(status_of("self", "CapEff"), 16) == 0x401
    assert not int(status_of("self", "CapBnd"), 16) & (1 << 21)


def effective_user():
    """Act as another group on files (fsgid), with groups of its own, as root."""
    os.setgroups([5, 6])
    os.setresgid(0, 34, 0)
    yield
    assert (os.getresgid(), os.getgroups()) == ((0, 34, 0), [5, 6])


def limits():
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 600))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o027)
    os.nice(3)
    os.sched_setaffinity(0, {0})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    Path("/proc/self/oom_score_adj").write_text("77")
    yield
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (512, 600)
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    assert os.sched_getscheduler(0) == os.SCHED_BATCH
    assert Path("/proc/self/oom_score_adj").read_text() == "77\n"
    assert os.umask(0) == 0o027
    assert os.getpriority(os.PRIO_PROCESS, 0) == 3


def cgroup():
    before = Path("/proc/self/cgroup").read_text()
    yield
    assert bool(Path("/proc/self/cgroup").read_text()) == bool(before)


def clocks():
    """Be in a time namespace whose monotonic clock is an hour ahead."""
    call("unshare", 0x80)  # CLONE_NEWTIME: children are in it
    Path("/proc/self/timens_offsets").write_text("monotonic 3600 0")
    outside = time.monotonic()
    leave_a_parent_outside()
    assert time.monotonic() > outside + 3600
    began = time.monotonic()
    yield
    assert began <= time.monotonic() < began + 600


def rseq():
    """Have the C library's restartable sequences registered: the kernel takes no other area for this thread."""
    number = {"x86_64": 334, "aarch64": 293}[os.uname().machine]
    area = ctypes.create_string_buffer(64)
    aligned = ctypes.c_void_p((ctypes.addressof(area) + 31) & ~31)

    def refusal():
        assert LIBC.syscall(number, aligned, 32, 0, 0x53053053) == -1
        return errno.errorcode[ctypes.get_errno()]

    assert refusal() == "EINVAL"
    yield
    assert refusal() == "EINVAL"
    for cpu in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {cpu})
        assert LIBC.sched_getcpu() == cpu


def vdso():
    """Call into the vdso from memory that was mapped before."""
    read = LIBC.clock_gettime
    yield
    now = ctypes.create_string_buffer(16)
    assert read(1, now) == 0
    assert struct.unpack("qq", now.raw)[0] > 0
