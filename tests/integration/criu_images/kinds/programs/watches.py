"""inotify and fanotify."""

import os
import struct
from pathlib import Path

from protocol import call, here, make

MODIFY, CREATE, NONBLOCK = 0x2, 0x100, os.O_NONBLOCK


def names(queue):
    data, found, at = os.read(queue, 4096), [], 0
    while at < len(data):
        number, mask, _, length = struct.unpack_from("iIII", data, at)
        found.append((number, mask, data[at + 16 : at + 16 + length].rstrip(b"\0")))
        at += 16 + length
    return found


def watch(directory):
    os.makedirs(directory, exist_ok=True)
    Path(directory, "file").write_text("watched")
    queue = call("inotify_init1", NONBLOCK)
    assert call("inotify_add_watch", queue, os.fsencode(directory), CREATE) == 1
    assert call("inotify_add_watch", queue, os.fsencode(directory) + b"/file", MODIFY) == 2
    yield
    Path(directory, "new").touch()
    with open(f"{directory}/file", "a") as file:
        file.write("x")
    assert names(queue) == [(1, CREATE, b"new"), (2, MODIFY, b"")]


def in_memory():
    yield from watch("/dev/shm/kinds-watched")


def on_overlay():
    yield from watch(here("watched"))


def by_scan():
    """--force-irmap looks where programs usually watch: /etc is one such place."""
    os.makedirs("/etc/kinds-watched")
    yield from watch("/etc/kinds-watched")


def fanotify():
    os.mkdir("/dev/shm/kinds-marked")
    make("/dev/shm/kinds-marked/file", b"")
    queue = call("fanotify_init", 2, os.O_RDONLY)  # FAN_NONBLOCK
    call("fanotify_mark", queue, 1, 0x08000020, -100, b"/dev/shm/kinds-marked")  # ADD; OPEN | EVENT_ON_CHILD
    yield
    os.close(os.open("/dev/shm/kinds-marked/file", os.O_RDONLY))
    fd = struct.unpack_from("=IBBHQii", os.read(queue, 4096))[5]
    assert os.readlink(f"/proc/self/fd/{fd}") == "/dev/shm/kinds-marked/file"
