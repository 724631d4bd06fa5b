"""What CRIU shares, waits for or leaves behind without a word, and what says so beforehand."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proof.containers import Container, Run, check_image, started

pytestmark = pytest.mark.docker

REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
PYTHON = "/opt/llmux/bin/python"
HOOK = "/usr/local/bin/llmux-criu-hook"
READY = """
open("/tmp/ready", "w").close()
while True:
    time.sleep(1)
"""
LISTENS = "import socket, time; s = socket.create_server(('127.0.0.1', 7777))"
LOCKS = "import fcntl, time; f = open('/srv/locked', 'w'); fcntl.flock(f, fcntl.LOCK_EX)"
LINKED = (
    "import os, time; f = open('/srv/lost', 'w'); os.link('/srv/lost', '/srv/kept'); os.unlink('/srv/lost')"
)
CONNECTED = f"{LISTENS}; c = socket.create_connection(('127.0.0.1', 7777)); a = s.accept()"
SHARES = """
import socket, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("127.0.0.1", 7777))
s.listen()
"""
DUMP = "criu dump --tree $(cat /tmp/pid) --images-dir /images --log-file dump.log"
RESTORE = "echo 19999 > /proc/sys/kernel/ns_last_pid; criu restore --restore-detached --images-dir /images --log-file restore.log"
HOOKED = f"--action-script {HOOK}"


@contextmanager
def running(program: str, image: str = "llmux:tiny") -> Iterator[Container]:
    """Run a program in a container with a network of its own."""
    check_image(image)
    with started(Run(image, command=REAPS, network="none"), "unsaid") as container:
        shell(container, "mkdir /images; echo 9999 > /proc/sys/kernel/ns_last_pid")
        start(container, program, "setsid")
        yield container


def start(container: Container, program: str, *before: str) -> None:
    """Start a program and wait until it has what it needs."""
    container.exec("sh", "-c", "rm -f /tmp/ready; cat > /tmp/program.py", given=f"{program}\n{READY}")
    argv = " ".join([*before, PYTHON, "/tmp/program.py"])
    shell(container, f"{argv} < /dev/null > /dev/null 2>&1 & echo $! > /tmp/pid")
    wait_for(container, "[ -e /tmp/ready ]")


def shell(container: Container, script: str) -> str:
    return container.exec("sh", "-c", script)


def wait_for(container: Container, condition: str) -> None:
    deadline = time.monotonic() + 20
    while container.attempt("sh", "-c", condition).code != 0:
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.05)


@pytest.mark.demand("tcp-reuseport")
def test_a_port_is_shared_with_an_occupant_that_allows_it() -> None:
    with running(LISTENS) as container:
        shell(container, f"{DUMP} {HOOKED}")
        start(container, SHARES)
        planned = container.attempt(PYTHON, "-m", "llmux.criu_images", "plan", "--json", "/images")
        (conflict,) = json.loads(planned.output)["conflicts"]
        assert (conflict["subject"], conflict["found"]) == ("port 7777", "taken on 127.0.0.1")
        assert container.attempt("sh", "-c", f"{RESTORE} {HOOKED}").code != 0
        shell(container, RESTORE)
        listening = shell(container, "grep -c ':1E61 00000000:0000 0A' /proc/net/tcp")
        assert listening == "2\n"


@pytest.mark.demand("locks-foreign")
def test_a_restore_waits_for_a_lock_that_another_holds() -> None:
    with running(LOCKS) as container:
        shell(container, f"{DUMP} --file-locks {HOOKED}")
        shown = shell(container, f"{PYTHON} -m llmux.criu_images show --json /images")
        assert "flock, the whole file" in [need["what"] for need in json.loads(shown)["needs"]]
        shell(container, "flock --no-fork /srv/locked sleep 600 > /dev/null 2>&1 & echo $! > /tmp/holder")
        wait_for(container, "grep -q 'FLOCK *ADVISORY *WRITE' /proc/locks")
        shell(container, f"({RESTORE} --file-locks; echo $? > /tmp/code) > /dev/null 2>&1 &")
        wait_for(container, "grep -q -e '-> FLOCK' /proc/locks")
        assert container.attempt("cat", "/tmp/code").code != 0
        shell(container, "kill $(cat /tmp/holder)")
        wait_for(container, "[ -s /tmp/code ]")
        assert shell(container, "cat /tmp/code") == "0\n"


@pytest.mark.demand("network-lock")
def test_the_networks_lock_stays_until_a_restore_succeeds() -> None:
    with running(CONNECTED, "llmux:programs") as container:
        options = "--tcp-established --network-lock iptables"
        shell(container, f"{DUMP} {options}")
        assert "-p tcp -m mark ! --mark 0xc114" in rules(container)
        assert container.attempt("sh", "-c", f"{RESTORE} {options} --pidfile /tmp/pid").code != 0
        assert "-j DROP" in rules(container)
        shell(container, f"{RESTORE} {options}")
        assert "-j DROP" not in rules(container)


@pytest.mark.demand("network-lock")
def test_a_network_that_is_not_locked_needs_no_unlocking() -> None:
    with running(CONNECTED, "llmux:programs") as container:
        shell(container, f"{DUMP} --tcp-established --network-lock skip")
        assert "-j DROP" not in rules(container)


def rules(container: Container) -> str:
    return shell(container, "iptables --list-rules")


@pytest.mark.demand("configuration-file")
def test_a_line_in_crius_configuration_file_is_enough() -> None:
    with running(f"{LISTENS}; kept = open('/srv/kept', 'w')") as container:
        shell(container, f"mkdir -p /etc/criu; echo 'action-script {HOOK}' > /etc/criu/default.conf")
        shell(container, DUMP)
        shell(container, "rm /srv/kept")
        shell(container, RESTORE)
        assert shell(container, "stat -c %s /srv/kept") == "0\n"


@pytest.mark.demand("post-restore")
def test_a_check_after_the_restore_that_fails_ends_the_tree_and_consumes_nothing() -> None:
    with running(LINKED) as container:
        shell(container, f"{DUMP} --link-remap {HOOKED}")
        check = '#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ]\n'
        container.exec("sh", "-c", "cat > /tmp/check; chmod +x /tmp/check", given=check)
        assert container.attempt("sh", "-c", f"{RESTORE} --action-script /tmp/check").code != 0
        wait_for(container, "! kill -0 $(cat /tmp/pid)")
        assert shell(container, "ls /srv | sed 's/[0-9]*$//'") == "kept\nlink_remap.\n"
        shell(container, RESTORE)
        assert shell(container, "ls /srv") == "kept\n"
