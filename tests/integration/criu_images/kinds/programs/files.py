"""Files by their path, directories, mappings."""

import ctypes
import fcntl
import mmap
import os
import shutil
import stat
import sys
from pathlib import Path

from protocol import fork, here, make, same_file

PAGE = mmap.PAGESIZE


def read():
    make(here("book"), b"first second third")
    fd = os.open(here("book"), os.O_RDONLY)
    assert os.read(fd, 6) == b"first "
    yield
    assert os.read(fd, 6) == b"second"


def write():
    fd = make(here("out"), b"0123456789", os.O_WRONLY)
    os.lseek(fd, 4, os.SEEK_SET)
    yield
    os.write(fd, b"xx")
    assert Path(here("out")).read_bytes() == b"0123xx6789"


def append():
    only = make(here("only.log"), b"one\n", os.O_WRONLY | os.O_APPEND)
    both = make(here("both.log"), b"one\n", os.O_RDWR | os.O_APPEND)
    yield
    for fd, name in ((only, "only.log"), (both, "both.log")):
        os.write(fd, b"two\n")
        assert Path(here(name)).read_bytes() == b"one\ntwo\n"


def shared_offset():
    fd = make(here("shared"), b"abcdefgh")
    os.lseek(fd, 0, os.SEEK_SET)
    double = os.dup(fd)
    alone = os.open(here("shared"), os.O_RDONLY)
    asked, ask = os.pipe()
    answered, reply = os.pipe()
    if os.fork() == 0:
        os.read(asked, 1)
        os.lseek(fd, 5, os.SEEK_SET)
        os.write(reply, b"x")
        os._exit(0)
    yield
    os.write(ask, b"x")
    os.read(answered, 1)
    assert os.read(double, 1) == b"f"
    assert os.read(fd, 1) == b"g"
    assert same_file(fd, double)
    assert os.read(alone, 1) == b"a"


def metadata():
    fd = make(here("private"), b"secret", mode=0o600)
    os.fchmod(fd, 0o4750)
    os.setxattr(fd, "user.note", b"kept \xff")
    os.utime(fd, ns=(10**18, 10**18 + 7))
    os.chown(here(), 12, 34)
    os.chmod(here(), 0o3771)
    yield
    now = os.fstat(fd)
    assert (now.st_mode, now.st_mtime_ns) == (0o104750, 10**18 + 7)
    assert os.getxattr(fd, "user.note") == b"kept \xff"
    directory = os.stat(here())
    assert (directory.st_mode & 0o7777, directory.st_uid, directory.st_gid) == (0o3771, 12, 34)


def sparse():
    fd = make(here("holes"), b"head")
    os.pwrite(fd, b"tail", 40 << 20)
    yield
    assert os.pread(fd, 4, 40 << 20) == b"tail"
    assert os.fstat(fd).st_size == (40 << 20) + 4
    assert os.fstat(fd).st_blocks < 1024


def odd_names():
    names = [b"new\nline", b"latin \xe9\xff", b"back\\slash", b"trap (deleted)", b" blanks ", b"l" * 255]
    fds = [make(os.fsencode(here()) + b"/" + name, name) for name in names]
    yield
    for fd, name in zip(fds, names, strict=True):
        assert os.pread(fd, 300, 0) == name
        assert os.readlink(f"/proc/self/fd/{fd}".encode()).endswith(name)


def long_path():
    path = here()
    while len(path) + 201 < 3900:
        path += "/" + "d" * 200
    os.makedirs(path)
    fd = make(path + "/file", b"deep")
    yield
    assert os.pread(fd, 9, 0) == b"deep"


def symlink():
    os.mkdir(here("real"))
    os.symlink("real", here("link"))
    fd = make(here("link/file"), b"through")
    os.symlink("/nowhere", here("dangling"))
    itself = os.open(here("dangling"), os.O_PATH | os.O_NOFOLLOW)
    yield
    assert os.pread(fd, 9, 0) == b"through"
    assert os.readlink("", dir_fd=itself) == "/nowhere"


def hard_links():
    a = make(here("a"), b"one inode")
    os.link(here("a"), here("b"))
    b = os.open(here("b"), os.O_RDWR)
    yield
    os.pwrite(a, b"ONE", 0)
    assert os.pread(b, 9, 0) == b"ONE inode"
    assert os.fstat(a).st_nlink == 2


def hard_links_apart():
    """One name is open; the others are in directories that the dump knows nothing of, one of them far away."""
    a = make(here("a"), b"one inode")
    far = "/var/tmp/apart/deeper"
    os.makedirs(far, mode=0o750)
    os.mkdir(here("beside"), 0o711)
    others = [here("beside/b"), f"{far}/c"]
    for other in others:
        os.link(here("a"), other)
    yield
    os.pwrite(a, b"ONE", 0)
    assert os.fstat(a).st_nlink == 3
    assert all(os.path.sameopenfile(a, os.open(other, os.O_RDONLY)) for other in others)
    assert stat.S_IMODE(os.stat(far).st_mode) == 0o750


def longest_path():
    """One byte less than the kernel takes and tells: CRIU's buffer has room for no more."""
    yield from _path_of(4094)


def too_long_path():
    yield from _path_of(4095)


def _path_of(length):
    path = here() + "/"
    while len(path) + 256 < length:
        path += "d" * min(255, length - len(path) - 3) + "/"
    os.makedirs(path)
    path += "f" * (length - len(path))
    fd = make(path, b"deep")
    yield
    assert os.pread(fd, 9, 0) == b"deep"
    assert os.readlink(f"/proc/self/fd/{fd}") == path


def mapped_private():
    fd = make(here("data"), b"d" * (3 * PAGE))
    memory = mmap.mmap(fd, 3 * PAGE, mmap.MAP_PRIVATE)
    os.close(fd)
    memory[:5] = b"dirty"
    yield
    assert memory[:6] == b"dirtyd"
    assert memory[2 * PAGE :] == b"d" * PAGE
    assert Path(here("data")).read_bytes() == b"d" * (3 * PAGE)


def mapped_shared():
    fd = make(here("data"), b"s" * (3 * PAGE))
    memory = mmap.mmap(fd, PAGE, mmap.MAP_SHARED, offset=PAGE)
    os.close(fd)
    memory[:5] = b"dirty"
    yield
    assert memory[:6] == b"dirtys"
    memory[:5] = b"after"
    assert Path(here("data")).read_bytes()[PAGE : PAGE + 6] == b"afters"


def mapped_deleted():
    fd = make(here("data"), b"g" * PAGE)
    memory = mmap.mmap(fd, PAGE, mmap.MAP_SHARED)
    os.close(fd)
    os.unlink(here("data"))
    os.rmdir(here())
    memory[:5] = b"dirty"
    yield
    assert memory[:6] == b"dirtyg"
    assert not os.path.exists(here("data"))


def executable():
    """Run a program that was made at run time."""
    if os.environ.get("KINDS_COPY"):
        yield
        assert os.readlink("/proc/self/exe") == here("copy")
        return
    shutil.copy2(os.path.realpath(sys.executable), here("copy"))
    os.execve(
        here("copy"),
        [here("copy"), "-EsSB", *sys.argv],
        {**os.environ, "KINDS_COPY": "yes", "PYTHONHOME": "/usr"},
    )


def library():
    """Map a library that was made at run time, and call into it."""
    source = next(Path("/usr/lib").glob("*/libm.so.6"))
    shutil.copy2(source, here("libmade.so"))
    made = ctypes.CDLL(here("libmade.so"))
    made.floor.restype, made.floor.argtypes = ctypes.c_double, [ctypes.c_double]
    yield
    assert made.floor(2.5) == 2.0
    assert "libmade.so" in Path("/proc/self/maps").read_text()


def posix_shm():
    fd = os.open("/dev/shm/kinds-ring", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.ftruncate(fd, 32 << 20)
    ring = mmap.mmap(fd, 32 << 20)
    os.close(fd)
    ring[16 << 20 : (16 << 20) + 4] = b"ring"
    child = fork()
    yield
    assert ring[16 << 20 : (16 << 20) + 4] == b"ring"
    ring[0] = 7
    with open(f"/proc/{child}/maps") as maps:
        assert "/dev/shm/kinds-ring" in maps.read()
    assert Path("/dev/shm/kinds-ring").read_bytes()[0] == 7


def tmpfs():
    fd = make("/dev/shm/kinds-note", b"in memory")
    yield
    assert os.pread(fd, 99, 0) == b"in memory"


def cwd():
    os.mkdir(here("work"), 0o750)
    os.chmod(here("work"), 0o1750)
    os.chdir(here("work"))
    yield
    assert os.getcwd() == here("work")
    assert os.stat(".").st_mode == 0o041750


def chroot():
    os.mkdir(here("jail"))
    os.mkdir(here("jail/in"))
    outside = os.open("/", os.O_PATH)
    child = fork(lambda: (os.chroot(here("jail")), os.chdir("/in")))
    yield
    os.close(outside)
    assert os.readlink(f"/proc/{child}/root") == here("jail")
    assert os.readlink(f"/proc/{child}/cwd") == here("jail/in")


def directory():
    os.mkdir(here("open"), 0o711)
    fd = os.open(here("open"), os.O_RDONLY | os.O_DIRECTORY)
    yield
    make(here("open/new"), b"")
    assert os.listdir(fd) == ["new"]


def devices():
    fds = [os.open(f"/dev/{name}", os.O_RDWR) for name in ("null", "zero", "urandom")]
    yield
    assert os.read(fds[1], 3) == b"\0\0\0"
    assert len(os.read(fds[2], 3)) == 3


def proc_sys():
    fds = [
        os.open(path, os.O_RDONLY)
        for path in ("/proc/self/status", "/proc/sys/kernel/ostype", "/sys/kernel/mm")
    ]
    yield
    assert b"State:" in os.read(fds[0], 4096)
    assert os.pread(fds[1], 9, 0) == b"Linux\n"


def dead_proc():
    child = os.fork()
    if child == 0:
        os._exit(0)
    fd = os.open(f"/proc/{child}/status", os.O_RDONLY)
    os.waitpid(child, 0)
    yield
    try:
        os.read(fd, 10)
    except ProcessLookupError:
        return
    raise AssertionError("the dead process lives")


def path_only():
    """Hold a path only (O_PATH)."""
    make(here("held"), b"path only")
    fd = os.open(here("held"), os.O_PATH)
    yield
    assert Path(f"/proc/self/fd/{fd}").read_bytes() == b"path only"


def unlinked_then_made_again():
    """Hold a lost file whose name another one has taken since."""
    old = make(here("name"), b"old")
    os.unlink(here("name"))
    new = make(here("name"), b"new")
    yield
    assert (os.pread(old, 9, 0), os.pread(new, 9, 0)) == (b"old", b"new")
    assert Path(here("name")).read_bytes() == b"new"


def descriptor_flags():
    make(here("flags"), b"x")
    fd = os.open(here("flags"), os.O_RDWR | os.O_NONBLOCK | os.O_NOATIME)
    os.set_inheritable(fd, True)
    far = os.dup2(fd, 700, inheritable=False)
    yield
    assert (os.get_inheritable(fd), os.get_inheritable(far)) == (True, False)

    wanted = os.O_RDWR | os.O_NONBLOCK | os.O_NOATIME
    assert fcntl.fcntl(far, fcntl.F_GETFL) & wanted == wanted
