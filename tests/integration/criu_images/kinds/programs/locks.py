"""File locks and leases, terminals."""

import fcntl
import os
import struct
import termios

from protocol import fork, here, leave_a_parent_outside, make, stat_of

OFD_SET, OFD_GET = 37, 36
FORM = "hhqqi4x"


def locked_out(name, lock):
    """Tell whether another process is refused the lock."""
    child = os.fork()
    if child == 0:
        fd = os.open(here(name), os.O_RDWR)
        try:
            lock(fd)
        except OSError:
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def locks():
    flocked, posix, described = (make(here(name), b"l" * 1000) for name in ("flock", "posix", "ofd"))
    fcntl.flock(flocked, fcntl.LOCK_EX)
    fcntl.lockf(posix, fcntl.LOCK_EX, 100, 200)
    fcntl.fcntl(described, OFD_SET, struct.pack(FORM, fcntl.F_WRLCK, os.SEEK_SET, 10, 20, 0))
    yield
    assert locked_out("flock", lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
    assert locked_out("posix", lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 299))
    assert not locked_out("posix", lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 300))
    other = struct.pack(FORM, fcntl.F_WRLCK, os.SEEK_SET, 29, 1, 0)
    assert locked_out("ofd", lambda fd: fcntl.fcntl(fd, OFD_SET, other))


def lease():
    os.close(make(here("leased"), b"x"))
    fd = os.open(here("leased"), os.O_RDONLY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    yield
    assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK


def unasked():
    fd = make(here("file"), b"x")
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield
    assert locked_out("file", lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))


def dropped():
    """Locks that the restore was not told of come back no more."""
    fd = make(here("file"), b"x")
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield
    assert not locked_out("file", lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))


def pty():
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))

    def take_it():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        os.close(master)

    child = fork(take_it)
    yield
    assert struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8)))[:2] == (33, 77)
    os.write(slave, b"to the master")
    assert os.read(master, 99) == b"to the master"
    os.write(master, b"line\n")
    assert os.read(slave, 99) == b"line\n"
    assert stat_of(child)[3] == str(child)
    assert int(stat_of(child)[4]) == os.fstat(slave).st_rdev


def terminal():
    """Have a terminal from outside: the shell's, or one whose master this one's parent holds."""
    fd = os.open("/dev/tty", os.O_RDWR)
    yield
    assert os.isatty(fd)
    assert termios.tcgetattr(fd)


def terminal_outside():
    master, slave = os.openpty()
    leave_a_parent_outside()
    os.close(master)
    yield
    assert os.isatty(slave)
