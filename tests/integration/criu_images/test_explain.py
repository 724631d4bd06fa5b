"""CRIU made to fail for real, one demand after the other: `explain` names the demand and the path, and `plan` the conflict in CRIU's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from demands import DEMANDS
from llmux.criu_images._explain import Explanation, Outcome, explain_log
from llmux.criu_images._message_table import find_message
from proof.containers import Container, Run, check_image, started

pytestmark = pytest.mark.docker

IMAGE = "llmux:tiny"
REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
PYTHON = "/opt/llmux/bin/python"
HOOK = "/usr/local/bin/llmux-criu-hook"
PRELUDE = """
import array, ctypes, fcntl, mmap, os, select, signal, socket, threading, time
here = "/tmp/e/"
def make(name, content=b"x" * 1000):
    fd = os.open(here + name, os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, content)
    return fd
"""
READY = """
open("/tmp/ready", "w").close()
while True:
    time.sleep(1)
"""
TAKE_ID = "echo $(($(cat /tmp/{}) - 1)) > /proc/sys/kernel/ns_last_pid; sleep 60 & echo $! >> /tmp/helpers"
PEER = f"""{PYTHON} -c '
import os, socket
server = socket.socket(socket.AF_UNIX, socket.{{}})
server.bind("/tmp/e/peer")
{{}}
open("/tmp/peer-ready", "w").close()
{{}}
' & echo $! >> /tmp/helpers; while [ ! -e /tmp/peer-ready ]; do sleep 0.05; done"""


@dataclass(frozen=True)
class Case:
    """One failure: what the program does, what goes wrong, and what `explain` must say."""

    name: str
    program: str
    demand: str
    path: str | None = None
    before: str = ""
    """Run before the program."""
    dump: str = ""
    spoil: str = ""
    """Run between dump and restore; with none it is the dump that fails."""
    restore: str = ""
    conflict: bool = False
    """Whether the plan has this conflict too."""
    shows: tuple[str, ...] = ()
    """Other demands that it proves."""


DUMPS = (
    Case("lock", "fd = make('f'); fcntl.flock(fd, fcntl.LOCK_EX)", "locks-flag"),
    Case("ghost-limit", "fd = make('f'); os.unlink(here + 'f')", "ghost-limit", "/tmp/e/f", dump="--ghost-limit 10"),
    Case("link-remap-flag", "fd = make('f'); os.link(here + 'f', here + 'g'); os.unlink(here + 'f')", "link-remap-flag", "/tmp/e/f"),
    Case("tcp-flag", "a = socket.create_server(('127.0.0.1', 7777)); b = socket.create_connection(('127.0.0.1', 7777)); c = a.accept()", "tcp-flag"),
    Case("stream-outside", "s = socket.socket(socket.AF_UNIX); s.connect(here + 'peer')", "unix-external-stream", dump="--ext-unix-sk",
         before=PEER.format("SOCK_STREAM", "server.listen()", "kept = server.accept(); import time; time.sleep(60)")),
    Case("dgram-outside", "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(here + 'peer')", "unix-external",
         before=PEER.format("SOCK_DGRAM", "", "server.recv(9)")),
    Case("sysv", "c = ctypes.CDLL(None); i = c.shmget(0, 4096, 0o1600); c.shmat.restype = ctypes.c_void_p; c.shmat(i, None, 0); c.shmctl(i, 0, None)", "sysv-shared"),
    Case("epoll", "r, w = os.pipe(); e = select.epoll(); e.register(r, 1)\nif os.fork() == 0: time.sleep(600)\nos.close(r)", "epoll"),
    Case("pidfd", "p = os.pidfd_open(1)", "pidfd"),
    Case("watch-overlay", "c = ctypes.CDLL(None); i = c.inotify_init(); os.mkdir(here + 'w'); c.inotify_add_watch(i, (here + 'w').encode(), 2)", "inotify-overlay"),
    Case("link-remap-left", "fd = make('f'); os.link(here + 'f', here + 'g'); os.unlink(here + 'f')\nfor n in range(1, 60): os.symlink('x', here + f'link_remap.{n}')",
         "link-remap-leftover", dump="--link-remap"),
    Case("script", "pass", "action-script", dump="--action-script /bin/false"),
    Case("no-task", "pass", "options", dump="--tree 31999"),
    Case("disk", "fd = make('f')", "disk", dump="--images-dir /small"),
)  # fmt: skip
SOCKET = "s = socket.socket(socket.AF_UNIX); os.mkdir(here + 'd'); {}; s.listen()"
LISTEN = SOCKET.format("s.bind(here + 'd/s')")
RESTORES = (
    Case("missing", "fd = make('f')", "file", "/tmp/e/f", spoil="rm /tmp/e/f"),
    Case("size", "fd = make('f')", "file-size", "/tmp/e/f", spoil="echo >> /tmp/e/f", conflict=True),
    Case("mode", "fd = make('f')", "file-mode", "/tmp/e/f", spoil="chmod 600 /tmp/e/f", conflict=True, shows=("messages",)),
    Case("cwd", "os.mkdir(here + 'd'); os.chdir(here + 'd')", "file", "/tmp/e/d", spoil="rmdir /tmp/e/d"),
    Case("cwd-mode", "os.mkdir(here + 'd'); os.chdir(here + 'd')", "file-mode", "/tmp/e/d", spoil="chmod 700 /tmp/e/d", conflict=True),
    Case("directory", "fd = make('f')", "file", "/tmp/e/f", spoil="rm /tmp/e/f; mkdir /tmp/e/f", conflict=True),
    Case("build-id", "fd = os.open(here + 'l', os.O_RDONLY)", "file-build-id", "/tmp/e/l",
         before="cp /usr/lib/x86_64-linux-gnu/libz.so.1 /tmp/e/l",
         spoil=f"""{PYTHON} -c 'p = "/tmp/e/l"; d = bytearray(open(p, "rb").read()); i = d.index(b"GNU\\0") + 4; d[i] ^= 255; open(p, "r+b").write(d)'"""),
    Case("fifo", "os.mkfifo(here + 'p'); fd = os.open(here + 'p', os.O_RDWR)", "fifo", "/tmp/e/p", spoil="rm /tmp/e/p"),
    Case("fifo-file", "os.mkfifo(here + 'p', 0o644); fd = os.open(here + 'p', os.O_RDWR)", "fifo", None, spoil="rm /tmp/e/p; touch /tmp/e/p; chmod 644 /tmp/e/p", conflict=True),
    Case("link-remap", "fd = make('f'); os.link(here + 'f', here + 'g'); os.unlink(here + 'f')", "link-remap", dump="--link-remap", spoil="rm /tmp/e/link_remap.*"),
    Case("ghost", "fd = make('f'); os.unlink(here + 'f')", "ghost-leftover", spoil="for n in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do touch /tmp/e/f.cr.$n.ghost; done"),
    Case("unix-directory", LISTEN, "unix-listen", "/tmp/e/d/s", spoil="rm -r /tmp/e/d"),
    Case("unix-file", LISTEN, "unix-listen", "/tmp/e/d/s", spoil="rm /tmp/e/d/s; touch /tmp/e/d/s", conflict=True, shows=("unix-stale",)),
    Case("unix-relative", SOCKET.format("os.chdir(here + 'd'); s.bind('s'); os.chdir('/')"), "unix-relative", "/tmp/e/d", spoil="rm -r /tmp/e/d"),
    Case("unix-abstract", "s = socket.socket(socket.AF_UNIX); s.bind('\\0proof'); s.listen()", "unix-listen",
         spoil=f"{PYTHON} -c 'import socket, time; s = socket.socket(socket.AF_UNIX); s.bind(\"\\0proof\"); time.sleep(60)' & echo $! >> /tmp/helpers; while ! grep -q @proof /proc/net/unix; do sleep 0.05; done", conflict=True),
    Case("port", "s = socket.create_server(('127.0.0.1', 7777))", "tcp-listen",
         spoil=f"{PYTHON} -c 'import socket, time; s = socket.create_server((\"127.0.0.1\", 7777)); time.sleep(60)' & echo $! >> /tmp/helpers; while ! grep -q ':1E61 00000000:0000 0A' /proc/net/tcp; do sleep 0.05; done", conflict=True),
    Case("pid", "pass", "pid", spoil=TAKE_ID.format("pid"), conflict=True),
    Case("tid", "t = threading.Thread(target=time.sleep, args=(600,), daemon=True); t.start(); open('/tmp/tid', 'w').write(str(t.native_id))", "tid", spoil=TAKE_ID.format("tid"), conflict=True),
    Case("external", "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(here + 'peer')", "unix-external",
         before=PEER.format("SOCK_DGRAM", "", "server.recv(9)"), dump="--ext-unix-sk", spoil="rm /tmp/e/peer", restore="--ext-unix-sk"),
    Case("watch", "c = ctypes.CDLL(None); i = c.inotify_init(); os.mkdir('/dev/shm/w'); c.inotify_add_watch(i, b'/dev/shm/w', 2)", "inotify", "/dev/shm/w", spoil="rmdir /dev/shm/w"),
    Case("tcp-restore", "a = socket.create_server(('127.0.0.1', 7777)); b = socket.create_connection(('127.0.0.1', 7777)); c = a.accept()", "tcp-flag", dump="--tcp-established --network-lock skip", spoil=":"),
    Case("image-short", "pass", "images", spoil="truncate --size=-1 /images/pstree.img"),
    Case("image-missing", "pass", "images", spoil="rm /images/core-*.img"),
    Case("script-refuses", "pass", "action-script", spoil=":", restore="--action-script /bin/false"),
    Case("hook-refuses", shows=("pre-restore",), program="fd = make('f')", demand="action-script", spoil="echo >> /tmp/e/f", restore=f"--action-script {HOOK}"),
    Case("pidfile", "pass", "options", "/tmp/pid", spoil=":", restore="--pidfile /tmp/pid"),
)  # fmt: skip


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    check_image(IMAGE)
    with started(Run(IMAGE, command=REAPS, flags=("--tmpfs=/small:size=64k",)), "explain") as container:
        yield container


def shell(container: Container, script: str) -> None:
    container.exec("sh", "-c", script)


@pytest.fixture
def place(container: Container) -> Iterator[Container]:
    """Give the container with empty directories, and end all that a case starts."""
    shell(
        container,
        "rm -rf /images /tmp/e /tmp/ready /tmp/peer-ready /tmp/helpers /dev/shm/*; mkdir /images /tmp/e; : > /tmp/helpers",
    )
    yield container
    shell(
        container,
        "kill -KILL $(cat /tmp/helpers) -$(cat /tmp/pid) 2>/dev/null; while kill -0 $(cat /tmp/pid) 2>/dev/null; do sleep 0.05; done; true",
    )


def start(container: Container, case: Case) -> None:
    container.exec("sh", "-c", "cat > /tmp/program.py", given=f"{PRELUDE}{case.program}\n{READY}")
    shell(
        container,
        f"""set -e
        {case.before}
        echo 9999 > /proc/sys/kernel/ns_last_pid
        setsid {PYTHON} /tmp/program.py < /dev/null > /dev/null 2> /tmp/errors & echo $! > /tmp/pid
        for n in $(seq 200); do [ -e /tmp/ready ] && exit; sleep 0.05; done; cat /tmp/errors >&2; exit 1""",
    )


def explained(container: Container, log: str) -> Explanation:
    text = container.exec("sh", "-c", f"cat {log}").encode("utf-8", "surrogateescape")
    return explain_log(text.splitlines(keepends=True))


def check(found: Explanation, case: Case) -> None:
    assert found.outcome is Outcome.FAILED
    assert found.cause is not None
    assert found.cause.message is not None, found.cause
    assert (found.cause.message.demand, case.name) == (case.demand, case.name), found.cause
    if case.path is not None:
        assert found.cause.path == case.path.encode()


def each(cases: Sequence[Case]) -> list[object]:
    """Name and mark each case: its demand, where that is one of `tests/demands/`, and what `plan` says of it beforehand."""
    return [
        pytest.param(
            case,
            id=case.name,
            marks=pytest.mark.demand(
                *(name for name in (case.demand, *case.shows) if name in DEMANDS),
            ),
        )
        for case in cases
    ]


@pytest.mark.parametrize("case", each(DUMPS))
def test_a_dump_that_fails(place: Container, case: Case) -> None:
    start(place, case)
    done = place.attempt(
        "sh",
        "-c",
        f"criu dump -v4 --tree $(cat /tmp/pid) --images-dir /images --work-dir /tmp/e --log-file dump.log {case.dump}",
    )
    assert done.code != 0
    found = explained(place, "/tmp/e/dump.log")
    check(found, case)
    assert found.operation in {"dump", None}


@pytest.mark.parametrize("case", each(RESTORES))
def test_a_restore_that_fails(place: Container, case: Case) -> None:
    start(place, case)
    shell(
        place,
        f"criu dump -v4 --tree $(cat /tmp/pid) --images-dir /images --log-file dump.log --action-script {HOOK} {case.dump}",
    )
    assert explained(place, "/images/dump.log").outcome is Outcome.SUCCEEDED
    shell(place, "while kill -0 $(cat /tmp/pid) 2>/dev/null; do sleep 0.05; done")
    shell(place, case.spoil)
    shell(place, "echo 19999 > /proc/sys/kernel/ns_last_pid")
    planned = place.attempt(PYTHON, "-m", "llmux.criu_images", "plan", "--json", "/images")
    done = place.attempt(
        "sh",
        "-c",
        f"criu restore -v4 --restore-detached --images-dir /images --log-file restore.log {case.restore}",
    )
    assert done.code != 0
    found = explained(place, "/images/restore.log")
    check(found, case)
    if case.conflict:
        agree(json.loads(planned.output)["conflicts"], found)


def agree(conflicts: list[dict[str, str]], found: Explanation) -> None:
    """Check that a conflict of the plan is worded by the message that CRIU failed with, about the same thing."""
    assert found.cause is not None
    said = [find_message((conflict["criu_says"] or "").encode()) for conflict in conflicts]
    assert found.cause.message in [one[0] for one in said if one is not None], conflicts
    if found.cause.path is not None:
        assert found.cause.facts["path"] in [conflict["subject"] for conflict in conflicts]
