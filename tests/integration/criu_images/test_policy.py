"""Policies with a real dump: what is carried and saved, a log that grew, and another build of the image's files."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from proof.containers import Container, Run, check_image, started

pytestmark = pytest.mark.docker

IMAGE = "llmux:tiny"
REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
PYTHON = "/opt/llmux/bin/python"
LOG = "/var/log/ledger"
EXPAT = "$(readlink -f /usr/lib/x86_64-linux-gnu/libexpat.so.1)"
PROGRAM = f"""
import signal, sys, xml.parsers.expat
log = open("{LOG}", "w", buffering=1)
print("started", file=log)
cache = open("/var/cache/big", "rb")
while True:
    signal.sigwait([signal.SIGUSR1])
    print("woken", file=log)
"""
START = f"""
set -eu
mkdir /images
head -c 3000000 /dev/urandom > /var/cache/big
head -c 5000000 /dev/urandom > /opt/scratch
echo 999 > /proc/sys/kernel/ns_last_pid
setsid {PYTHON} -c 'import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); exec(open("/program").read())' \\
    < /dev/null > /dev/null 2>&1 &
echo $! > /pid
"""
CRIU = "--images-dir /images --action-script /usr/local/bin/llmux-criu-hook"
DUMP = f"criu dump --tree $(cat /pid) {CRIU}"
RESTORE = f"echo 4999 > /proc/sys/kernel/ns_last_pid; unshare --mount criu restore --restore-detached {CRIU}"


@pytest.fixture
def container(nothing_left_behind: None) -> Iterator[Container]:
    """Give a container in which the program has written its first line."""
    check_image(IMAGE)
    with started(Run(IMAGE, command=REAPS), "policy") as container:
        shell(container, "cat > /program", given=PROGRAM)
        shell(container, START)
        wait_for(container, LOG, "started\n")
        yield container


def shell(container: Container, script: str, given: str | None = None) -> str:
    return container.exec("sh", "-c", script, given=given)


def wait_for(container: Container, path: str, text: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if container.attempt("sh", "-c", f"cat {path}").output == text:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{path} is not {text!r}")


def library(container: Container, command: str, *options: str) -> tuple[int, dict]:
    done = container.attempt(PYTHON, "-m", "llmux.criu_images", command, "/images", "--json", *options)
    return done.code, json.loads(done.output)


@pytest.mark.demand("losable-files", "post-dump")
def test_a_policy_file_is_followed_by_the_hook_and_the_savings_are_told(container: Container) -> None:
    shell(container, "mkdir -p /etc/llmux; echo 'leave path=/var/cache/**' > /etc/llmux/criu-policy")
    shell(container, DUMP)
    _, told = library(container, "verify")
    assert told["policy"] == ["leave path=/var/cache/**"]
    cost = told["cost"]
    assert cost["difference_known_by"] == "measured: the overlay's writable layer and /dev/shm"
    assert cost["difference_bytes"] >= 8_000_000
    assert cost["saved_bytes"] == cost["difference_bytes"] - cost["data_bytes"]
    assert cost["data_bytes"] < 1_000_000
    assert library(container, "plan")[0] == 0
    shell(container, "rm /var/cache/big")
    code, plan = library(container, "plan")
    assert code == 3
    assert [(one["subject"], one["found"]) for one in plan["conflicts"]] == [("/var/cache/big", "missing")]


@pytest.mark.demand("file-grown", "truncated-logs")
def test_a_log_that_grew_is_masked_and_stays_whole(container: Container) -> None:
    shell(container, DUMP)
    shell(container, f"echo theirs >> {LOG}")
    shell(container, "mkdir -p /etc/llmux; echo 'conflict' > /etc/llmux/criu-policy")
    refused = container.attempt("sh", "-c", RESTORE)
    assert refused.code != 0
    shell(container, f"echo 'mask change=grown path={LOG}' > /etc/llmux/criu-policy")
    shell(container, RESTORE)
    shell(container, "kill -USR1 $(cat /pid)")
    wait_for(container, f"/proc/$(cat /pid)/root{LOG}", "started\nwoken\n")
    assert container.exec("cat", LOG) == "started\ntheirs\n"


@pytest.mark.demand("file-content", "no-inode")
def test_other_bytes_under_the_same_size_time_and_build_id_are_found(container: Container) -> None:
    shell(container, DUMP)
    patch = f"""
    set -eu; lib={EXPAT}; touch -r $lib /time
    printf X | dd of=$lib bs=1 seek=$(($(stat -c %s $lib) - 1)) conv=notrunc status=none
    touch -r /time $lib
    """
    shell(container, patch)
    code, plan = library(container, "plan")
    assert code == 3
    (conflict,) = plan["conflicts"]
    assert "libexpat" in conflict["subject"]
    assert conflict["found"] == "has other content than in the dump under the same build-id"
    assert conflict["criu_says"] is None
    assert container.attempt("sh", "-c", RESTORE).code != 0
    kept = library(container, "plan", "--policy", "keep path=**/libexpat*")
    assert kept[0] == 0
    bare = "echo 4999 > /proc/sys/kernel/ns_last_pid; criu restore --restore-detached --images-dir /images"
    shell(container, bare)  # CRIU takes it


@pytest.mark.demand("post-dump")
def test_where_the_capture_has_no_room_the_tree_runs_on_and_nothing_is_left(container: Container) -> None:
    shell(
        container,
        "mount -t tmpfs -o size=50m tmpfs /images; head -c 60000000 /dev/zero | tr '\\0' x > /var/cache/big",
    )
    failed = container.attempt("sh", "-c", DUMP)
    assert failed.code != 0
    assert "cannot write the capture to /images: No space left on device. Make room there" in failed.errors
    assert shell(container, "ls -A /images/llmux; ls -A /images | grep -c llmux- || true") == "0\n"
    shell(container, "kill -USR1 $(cat /pid)")
    wait_for(container, LOG, "started\nwoken\n")
