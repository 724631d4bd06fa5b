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


def steps(page: str) -> list[tuple[str, str]]:
    """Return a page's steps: the container that each is for, by the words before it, and what is typed there."""
    text = (ROOT / page).read_text()
    return re.findall(r"^.*\b[Ii]n (A|B)\b.*:\n\n```sh\n((?s:.*?))```$", text, re.MULTILINE)


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
    for where, typed in steps("README.md"):
        if where == name:
            container.exec("bash", "-c", typed, timeout=120)
            if "app.py" in typed:
                wait_for(container, 1)


def test_the_page_on_any_dump_has_the_same() -> None:
    assert steps("docs/dumps.md") == steps("README.md")


def test_there_are_at_most_five_lines() -> None:
    found = steps("README.md")
    assert [where for where, _ in found] == ["A", "A", "B"]
    assert len({line for _, typed in found for line in typed.splitlines()}) <= 5


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
