"""Locks on a volume that two containers share: what the one holds there keeps a restore in the other from taking its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from proof.containers import Container, Mount, Run, check_image, started

pytestmark = [pytest.mark.docker, pytest.mark.demand("locks-foreign")]

IMAGE = "llmux:tiny"
REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
PYTHON = "/opt/llmux/bin/python"
HOOK = "--action-script /usr/local/bin/llmux-criu-hook"
IMPORTS = "import fcntl, os, struct, time; path = '/volume/file'; fd = os.open(path, os.O_RDWR | os.O_CREAT);"
READY = "open('/tmp/ready', 'w').close(); time.sleep(600)"
OFD = "fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 256, 512, 0))"
LEASE = "os.close(fd); fd = os.open(path, os.O_RDONLY); fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)"


@dataclass(frozen=True)
class Case:
    """A lock of the dump, and what another process does that keeps it out."""

    name: str
    takes: str
    rival: str
    means: str
    criu_says: str
    waits: bool


CASES = (
    Case(
        "flock",
        "fcntl.flock(fd, fcntl.LOCK_EX)",
        "fcntl.flock(fd, fcntl.LOCK_SH)",
        "(flock, exclusive, the whole file)",
        "(flock)flag: 2, type: 1, cmd: 2, pid: {pid}, fd: 3",
        waits=True,
    ),
    Case(
        "posix",
        "fcntl.lockf(fd, fcntl.LOCK_SH, 512, 256)",
        "fcntl.lockf(fd, fcntl.LOCK_EX)",
        "(POSIX, shared, from byte 256, 512 bytes)",
        "(posix)flag: 1, type: 0, pid: {pid}, fd: 3, start:      100, len:      200",
        waits=True,
    ),
    Case("ofd", OFD, OFD, "(OFD, exclusive, from byte 256, 512 bytes)", "Can not set ofd lock!", waits=False),
    Case(
        "lease",
        LEASE,
        "pass",
        "(lease, shared, the whole file)",
        "Can't set lease: Resource temporarily unavailable",
        waits=False,
    ),
)


@pytest.fixture(scope="module")
def directory(nothing_left_behind: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dump a program that holds the lock, one of each kind, each with a volume of its own."""
    check_image(IMAGE)
    directory = tmp_path_factory.mktemp("locks")
    for case in CASES:
        (directory / case.name / "images").mkdir(parents=True)
        (directory / case.name / "volume").mkdir()
        with running(directory, case, "source") as container:
            shell(container, "echo 999 > /proc/sys/kernel/ns_last_pid")
            start(container, case.takes)
            shell(container, "cp /tmp/pid /images/pid")
            shell(container, f"criu dump --tree $(cat /images/pid) --images-dir /images --file-locks {HOOK}")
    return directory


def running(directory: Path, case: Case, label: str):
    mounts = (
        Mount(directory / case.name / "images", "/images"),
        Mount(directory / case.name / "volume", "/volume"),
    )
    return started(Run(IMAGE, mounts, command=REAPS), f"locks-{case.name}-{label}")


@pytest.fixture
def pair(directory: Path, case: Case) -> Iterator[tuple[Container, Container]]:
    """Start a fresh container to restore in, and another that has the volume too."""
    with ExitStack() as stack:
        yield (
            stack.enter_context(running(directory, case, "b")),
            stack.enter_context(running(directory, case, "other")),
        )


def start(container: Container, takes: str) -> None:
    script = (
        f'setsid {PYTHON} -c "{IMPORTS} {takes}; {READY}" < /dev/null > /dev/null 2>&1 & echo $! > /tmp/pid'
    )
    shell(container, f"rm -f /tmp/ready; {script}")
    wait_for(container, "[ -e /tmp/ready ]")


def shell(container: Container, script: str) -> str:
    return container.exec("sh", "-c", script)


def wait_for(container: Container, condition: str) -> None:
    deadline = time.monotonic() + 20
    while container.attempt("sh", "-c", condition).code != 0:
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.05)


def conflicts(container: Container) -> list[dict[str, str]]:
    planned = container.attempt(PYTHON, "-m", "llmux.criu_images", "plan", "--json", "/images")
    return json.loads(planned.output)["conflicts"]


END = "kill -KILL $(cat /images/pid); while kill -0 $(cat /images/pid) 2> /dev/null; do sleep 0.05; done"
RESTORE = (
    "echo 4999 > /proc/sys/kernel/ns_last_pid; rm -rf /tmp/work; mkdir /tmp/work;"
    " criu restore --restore-detached --images-dir /images --work-dir /tmp/work --log-file log -v4 --file-locks"
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_lock_of_another_container_is_found_before_the_restore(
    case: Case, pair: tuple[Container, Container]
) -> None:
    container, other = pair
    assert conflicts(container) == []
    start(other, case.rival)
    (conflict,) = conflicts(container)
    assert conflict["subject"] == "/volume/file"
    assert conflict["found"].startswith("a process that is not seen from here")
    assert conflict["found"].endswith(case.means)
    criu_says = case.criu_says.format(pid=shell(container, "cat /images/pid").strip())
    assert conflict["criu_says"] == criu_says

    refused = container.attempt("sh", "-c", f"{RESTORE} {HOOK}")
    assert refused.code != 0
    assert "a process that is not seen from here" in shell(container, "grep llmux-criu-hook: /tmp/work/log")

    container.start("sh", "-c", f"{RESTORE}; echo $? > /tmp/code")
    wait_for(container, f"grep -q -F {json.dumps(criu_says)} /tmp/work/log")
    if case.waits:
        assert criu_says in shell(container, "tail -n 1 /tmp/work/log")
        assert container.attempt("test", "-s", "/tmp/code").code != 0
        shell(other, "kill $(cat /tmp/pid)")
        wait_for(container, "[ -s /tmp/code ]")
        assert shell(container, "cat /tmp/code") == "0\n"
        shell(container, END)
    else:
        wait_for(container, "[ -s /tmp/code ]")
        assert shell(container, "cat /tmp/code") != "0\n"
        shell(other, "kill $(cat /tmp/pid)")
    wait_for(other, "! kill -0 $(cat /tmp/pid)")

    shell(container, f"{RESTORE} {HOOK}")
    shell(container, "kill -0 $(cat /images/pid)")


@pytest.mark.parametrize("case", CASES[:1], ids=lambda case: case.name)
def test_a_holder_in_the_same_container_is_named(case: Case, pair: tuple[Container, Container]) -> None:
    container, _ = pair
    start(container, case.rival)
    pid = shell(container, "cat /tmp/pid").strip()
    (conflict,) = conflicts(container)
    assert conflict["found"].startswith(f"process {pid} (python")


@pytest.mark.parametrize("case", CASES[:1], ids=lambda case: case.name)
def test_a_file_that_the_rebuild_makes_is_nobody_elses(
    case: Case, directory: Path, pair: tuple[Container, Container]
) -> None:
    container, other = pair
    start(other, case.rival)
    (directory / case.name / "volume" / "file").unlink()
    shell(container, f"{RESTORE} {HOOK}")
    assert container.attempt("flock", "--nonblock", "/volume/file", "true").code != 0
