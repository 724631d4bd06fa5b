"""What every program here does: set itself up, say so, wait for SIGUSR1, check itself, write its verdict.

usage: protocol.py MODULE.FUNCTION

The function is a generator: what stands before its `yield` is done before the dump, what stands after it in the restored process. Descriptors 0 to 2
are /dev/null and the verdict goes to a file that is made only then, so that a dump refers to nothing but what the function itself holds.
"""

import ctypes
import importlib
import os
import signal
import sys
import traceback
from pathlib import Path

NOTES = Path("/run/kinds")
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
NAME = sys.argv[1]


def here(name=""):
    """Return a path in this program's own directory, which exists from then on."""
    directory = Path("/srv/kinds", NAME)
    directory.mkdir(parents=True, exist_ok=True)
    return str(directory / name)


def make(path, content, flags=os.O_RDWR, mode=0o644):
    """Create a file with some content; return a descriptor of it."""
    fd = os.open(path, flags | os.O_CREAT, mode)
    os.write(fd, content)
    return fd


def call(name, *arguments):
    """Call a function of libc; raise OSError where it returns -1."""
    result = getattr(LIBC, name)(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def fork(function=lambda: None):
    """Run a function in a child, which then sleeps; return the child's id once it does."""
    done, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(done)
        code = 1
        try:
            function()
            os.write(told, b"x")
            os.close(told)
            while True:
                signal.pause()
        finally:
            os._exit(code)
    os.close(told)
    assert os.read(done, 1) == b"x"
    os.close(done)
    return pid


def leave_a_parent_outside():
    """Go on in a child that leads a session of its own; the parent stays as it is, outside the tree that is dumped."""
    while os.fork():
        signal.pause()
    os.setsid()


def stat_of(pid):
    """Return the fields of /proc/PID/stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def status_of(pid, key):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return line.partition(":")[2].strip()
    raise KeyError(key)


def same_file(one, other):
    """Tell whether two descriptors are one open file description (KCMP_FILE)."""
    kcmp = {"x86_64": 312, "aarch64": 272}[os.uname().machine]
    me = os.getpid()
    return LIBC.syscall(kcmp, me, me, 0, one, other) == 0


def answer(text):
    partial = NOTES / f"{NAME}.partial"
    partial.write_text(text)
    partial.rename(NOTES / f"{NAME}.verdict")


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    module, _, function = NAME.partition(".")
    try:
        body = getattr(importlib.import_module(module), function)()
        next(body)
        (NOTES / f"{NAME}.ready").write_text(os.readlink("/proc/self"))
        signal.sigwait([signal.SIGUSR1])
        next(body, None)
    except BaseException:
        answer(traceback.format_exc())
        raise
    answer("ok")
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.modules["protocol"] = sys.modules["__main__"]
    main()
