"""Pipes and FIFOs."""

import fcntl
import os
import stat

from protocol import fork, here, same_file


def fifo_both_ends():
    os.mkfifo(here("fifo"), 0o620)
    os.chmod(here("fifo"), 0o620)
    reader = os.open(here("fifo"), os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(here("fifo"), os.O_WRONLY)
    os.write(writer, b"waiting")
    yield
    assert os.read(reader, 99) == b"waiting"
    os.write(writer, b"more")
    assert os.read(reader, 99) == b"more"
    again = os.open(here("fifo"), os.O_WRONLY)
    os.write(again, b"by name")
    assert os.read(reader, 99) == b"by name"
    assert os.stat(here("fifo")).st_mode == stat.S_IFIFO | 0o620


def fifo_one_end():
    os.mkfifo(here("fifo"))
    both = os.open(here("fifo"), os.O_RDWR)
    os.mkfifo(here("lonely"))
    lonely = os.open(here("lonely"), os.O_RDONLY | os.O_NONBLOCK)
    os.write(both, b"waiting")
    yield
    assert os.read(both, 99) == b"waiting"
    assert os.read(lonely, 9) == b""
    os.write(os.open(here("lonely"), os.O_WRONLY), b"late")
    assert os.read(lonely, 9) == b"late"


def fifo_deleted():
    os.mkfifo(here("fifo"))
    both = os.open(here("fifo"), os.O_RDWR)
    os.write(both, b"lost name")
    os.unlink(here("fifo"))
    yield
    assert os.read(both, 99) == b"lost name"
    assert os.listdir(here()) == []


def pipe():
    reader, writer = os.pipe()
    double = os.dup(writer)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 17)
    os.write(writer, b"p" * 100_000)
    fork(lambda: os.close(reader))
    full, fill = os.pipe2(os.O_NONBLOCK)
    yield
    assert len(os.read(reader, 200_000)) == 100_000
    os.write(double, b"again")
    assert os.read(reader, 9) == b"again"
    assert same_file(writer, double)
    assert fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ) == 1 << 17
    assert not os.get_blocking(full)
    assert not os.get_blocking(fill)


def pipe_half():
    reader, writer = os.pipe()
    os.write(writer, b"then nothing")
    os.close(writer)
    yield
    assert os.read(reader, 99) == b"then nothing"
    assert os.read(reader, 99) == b""


def packets():
    reader, writer = os.pipe2(os.O_DIRECT)
    os.write(writer, b"one")
    os.write(writer, b"two")
    yield
    assert os.read(reader, 99) == b"one"
    assert os.read(reader, 99) == b"two"
    os.write(writer, b"three")
    os.write(writer, b"four")
    assert os.read(reader, 99) == b"three"
