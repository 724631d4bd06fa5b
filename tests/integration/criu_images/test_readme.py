"""The README's commands for anyone who uses CRIU, run as they stand there, in containers that have CRIU and nothing of llmux."""

from __future__ import annotations

import re
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from proof.containers import Container, Mount, Run, check_image, started

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "llmux-base:trixie"
WHEELS = ROOT / ".cache/context/llmux-python3.13"
"""llmux's own, as the page has it made, and those of what it needs, as an index would give them."""
PROGRAM = Path(__file__).with_name("program.py")
LOG = "/var/log/app.log"


def commands() -> list[tuple[str, str]]:
    """Return the section's commands, each with the containers that it is for."""
    section = (ROOT / "README.md").read_text().split("\n## For anyone who uses CRIU\n")[1]
    block = section.split("```sh\n")[1].split("```\n")[0]
    lines = [re.fullmatch(r"(.*?) +# in (A|B|A and B)", line) for line in block.splitlines()]
    return [(line[1], line[2]) for line in lines if line]


def start(stack: ExitStack, name: str, share: Path) -> Container:
    for wheel in WHEELS.glob("llmux-*.whl"):
        shutil.copy(wheel, share)
    mounts = (Mount(PROGRAM, "/app/app.py", True), Mount(WHEELS, "/wheels", True), Mount(share, "/share"))
    flags = ("--env=PIP_NO_INDEX=1", "--env=PIP_FIND_LINKS=/wheels/wheels", "--workdir=/app")
    reaps = ("sh", "-c", "while :; do sleep 0.1; done")
    return stack.enter_context(started(Run(IMAGE, mounts, flags=flags, command=reaps), name))


def wait_for(container: Container, lines: int) -> list[str]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = container.attempt("cat", LOG).output.splitlines()
        if len(found) >= lines:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"no {lines} lines in {LOG}")


def run_those_of(container: Container, name: str) -> None:
    for command, where in commands():
        if name in where.split(" and "):
            container.exec("bash", "-c", command, timeout=120)
            if "app.py" in command:
                wait_for(container, 1)


def test_the_page_on_any_dump_has_the_same() -> None:
    page = (ROOT / "docs/dumps.md").read_text()
    assert all(f"{command}  # in {where}\n" in page for command, where in commands())


def test_there_are_at_most_five() -> None:
    assert 1 < len(commands()) <= 5
    assert {where for _, where in commands()} == {"A", "B", "A and B"}


@pytest.mark.demand("post-dump", "pre-restore", "posix-shm", "semaphore")
def test_they_bring_a_program_to_another_container(tmp_path: Path, nothing_left_behind: None) -> None:
    check_image(IMAGE)
    with ExitStack() as stack:
        a = start(stack, "a", tmp_path)
        run_those_of(a, "A")
        a.remove()
        b = start(stack, "b", tmp_path)
        assert b.attempt("ls", LOG).code != 0
        run_those_of(b, "B")
        b.exec("sh", "-c", "kill -USR1 $(cat /share/pid)")
        assert wait_for(b, 2) == [
            "ring 1, semaphore 1, by its name 1",
            "ring 2, semaphore 2, by its name 2",
        ]
        assert b.exec("ls", "/run/llmux/journals").split() == ["in-memory"]
