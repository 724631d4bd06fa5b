"""A program with datagram peers outside the dump, restored where nobody is at their names, by CRIU itself with the hook."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proof.containers import Container, Mount, Run, check_image, started

pytestmark = [pytest.mark.docker, pytest.mark.demand("unix-external")]

IMAGE = "llmux:tiny"
REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
PYTHON = "/opt/llmux/bin/python"
LLMUX = f"{PYTHON} -m llmux.criu_images"
OUT, RECEIVED = "/var/log/sender", "/var/log/received"
CRIU = "--ext-unix-sk --images-dir /share/dump"
HOOK = "--action-script /usr/local/bin/llmux-criu-hook"
START = f"""
set -eu
mkdir -p /share/dump
echo 9999 > /proc/sys/kernel/ns_last_pid
setsid {PYTHON} /sender.py < /dev/null >> {OUT} 2>&1 &
echo $! > /share/pid
"""
RESTORE = f"criu restore --restore-detached {CRIU}"
SEND = "kill -USR1 $(cat /share/pid)"


@pytest.fixture
def options(tmp_path: Path) -> Run:
    check_image(IMAGE)
    here = Path(__file__).parent
    mounts = (
        Mount(here / "sender.py", "/sender.py", read_only=True),
        Mount(here / "receiver.py", "/receiver.py", read_only=True),
        Mount(tmp_path, "/share"),
    )
    return Run(IMAGE, mounts, command=REAPS)


@pytest.fixture
def container(options: Run, nothing_left_behind: None) -> Iterator[Container]:
    """Give a fresh container that has the dump, which was made in another one."""
    with started(options, "holder-a") as a:
        a.start(PYTHON, "/receiver.py", RECEIVED)
        wait_for(a, RECEIVED, 0)
        shell(a, START)
        wait_for(a, OUT, 1)
        shell(a, f"criu dump --tree $(cat /share/pid) {CRIU} {HOOK}")
    with started(options, "holder-b") as b:
        yield b


def shell(container: Container, script: str) -> str:
    return container.exec("sh", "-c", script)


def wait_for(container: Container, path: str, count: int) -> list[str]:
    """Return the file's lines once there are `count`."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done = container.attempt("cat", path)
        lines = done.output.splitlines()
        if done.code == 0 and len(lines) >= count:
            return lines
        time.sleep(0.05)
    raise TimeoutError(f"no {count} lines in {path}")


def held_by(container: Container) -> list[str]:
    """Return the names that are bound, without the holder's own."""
    names = shell(container, "awk 'NR > 1 && NF > 7 { print $8 }' /proc/net/unix").split()
    return sorted(name for name in names if not name.endswith(".hold"))


def wait_until_nobody_holds(container: Container) -> None:
    deadline = time.monotonic() + 20
    while held_by(container):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_the_hook_the_restore_fails(container: Container) -> None:
    shell(container, f"touch {OUT}")
    failed = container.attempt("sh", "-c", f"{RESTORE} -v4 -o /tmp/log; cat /tmp/log; false")
    assert "Can't connect" in failed.output


def test_what_is_sent_meanwhile_is_reported(container: Container) -> None:
    assert "hold  /srv/peer/log" in container.attempt("sh", "-c", f"{LLMUX} plan /share/dump").output
    shell(container, f"{RESTORE} {HOOK}")
    assert held_by(container) == ["/srv/peer/log", "@peer"]
    assert shell(container, "stat -c '%A %U' /srv/peer/log") == "srw--w--w- root\n"
    shell(container, SEND)
    assert wait_for(container, OUT, 3)[-2:] == ["sent 1", "sent 1"]
    told = json.loads(shell(container, f"{LLMUX} finish /share/dump --json"))
    assert [(one["name"], one["messages"], one["bytes"], one["head"]) for one in told["held"]] == [
        ("\\x00peer", 1, 6, ["line 1"]),
        ("/srv/peer/log", 1, 6, ["line 1"]),
    ]
    assert held_by(container) == []
    assert container.attempt("test", "-e", "/srv/peer/log").code == 1
    shell(container, SEND)
    assert wait_for(container, OUT, 5)[-2:] == ["ConnectionRefusedError"] * 2


def test_a_new_owner_gets_the_sockets_and_what_was_sent_before(container: Container) -> None:
    shell(container, f"{RESTORE} {HOOK}")
    shell(container, SEND)
    wait_for(container, OUT, 3)
    container.start("sh", "-c", f"{LLMUX} finish /share/dump -- {PYTHON} /receiver.py {RECEIVED}")
    assert wait_for(container, RECEIVED, 2) == ["line 1"] * 2
    shell(container, SEND)
    assert sorted(wait_for(container, RECEIVED, 4)) == ["line 1"] * 2 + ["line 2"] * 2
    assert wait_for(container, OUT, 5)[-2:] == ["sent 2"] * 2


def test_a_daemon_that_comes_later_gets_what_was_sent_before(container: Container) -> None:
    shell(container, f"{RESTORE} {HOOK}")
    shell(container, SEND)
    wait_for(container, OUT, 3)
    container.start(PYTHON, "/receiver.py", RECEIVED, "path-only")
    assert wait_for(container, RECEIVED, 1) == ["line 1"]


def test_with_the_daemon_there_nobody_is_started(container: Container) -> None:
    container.start(PYTHON, "/receiver.py", RECEIVED)
    wait_for(container, RECEIVED, 0)
    assert "hold" not in shell(container, f"{LLMUX} plan /share/dump")
    shell(container, f"{RESTORE} {HOOK}; {SEND}")
    assert wait_for(container, RECEIVED, 2) == ["line 1"] * 2
    assert json.loads(shell(container, f"{LLMUX} finish /share/dump --json"))["held"] == []


def test_it_leaves_with_the_tree(container: Container) -> None:
    shell(container, f"{RESTORE} {HOOK}; kill -KILL $(cat /share/pid)")
    wait_until_nobody_holds(container)
    assert (
        json.loads(shell(container, f"{LLMUX} finish /share/dump --json"))["left"]
        == "the restored tree ended"
    )


def test_it_leaves_when_the_restore_fails(container: Container) -> None:
    failing = "case $CRTOOLS_SCRIPT_ACTION in post-restore) exit 1;; esac"
    script = f"#!/bin/sh\\n{failing}\\nexec /usr/local/bin/llmux-criu-hook\\n"
    shell(container, f"printf '{script}' > /failing; chmod +x /failing")
    assert container.attempt("sh", "-c", f"{RESTORE} --action-script /failing").code != 0
    wait_until_nobody_holds(container)
    assert container.attempt("test", "-e", "/srv/peer/log").code == 1
    shell(container, f"{LLMUX} undo /share/dump; {RESTORE} {HOOK}")


def test_undo_ends_it(container: Container) -> None:
    shell(container, f"{LLMUX} rebuild /share/dump")
    assert held_by(container) == ["/srv/peer/log", "@peer"]
    assert "0 actions" in shell(container, f"{LLMUX} plan /share/dump")
    shell(container, f"{LLMUX} undo /share/dump")
    assert held_by(container) == []
    assert container.attempt("test", "-e", "/srv/peer").code == 1


def test_a_dead_socket_gives_way_and_no_file_of_others_is_inherited(container: Container) -> None:
    shell(
        container,
        f"mkdir /srv/peer; {PYTHON} -c 'import socket; socket.socket(1, 2).bind(\"/srv/peer/log\")'",
    )
    shell(container, f"{RESTORE} {HOOK}")
    (holder,) = shell(container, "grep -l -I -a _holder[.]py /proc/[0-9]*/cmdline; true").split()
    files = shell(container, f"readlink $(dirname {holder})/fd/*").split()
    assert not [file for file in files if "/share" in file or "pipe:" in file or file.endswith(".log")]
