"""CRIU by itself, with nothing of llmux but its hook, in a container whose /dev/shm everybody in it shares."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proof.containers import Container, Mount, Run, check_image, started

pytestmark = pytest.mark.docker

IMAGE = "llmux:tiny"
REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
"""A first process under which ended ones do not stay as zombies, whose ids would be in use."""
PYTHON = "/opt/llmux/bin/python"
LOG = "/var/log/program"
CRIU = "--images-dir /images --action-script /usr/local/bin/llmux-criu-hook"
START = f"""
set -eu
mkdir /images
echo 999 > /proc/sys/kernel/ns_last_pid
setsid {PYTHON} /program.py < /dev/null >> {LOG} 2>&1 &
echo $! > /pid
"""
RESTORE = f"echo 4999 > /proc/sys/kernel/ns_last_pid; criu restore --restore-detached {CRIU}"


@pytest.fixture
def container(nothing_left_behind: None) -> Iterator[Container]:
    """Give a container in which the program was dumped and of which all that it had made is removed."""
    check_image(IMAGE)
    program = Mount(Path(__file__).with_name("program.py"), "/program.py", read_only=True)
    with started(Run(IMAGE, (program,), command=REAPS), "bare") as container:
        shell(container, START)
        wait_for(container, 1)
        shell(container, f"criu dump --tree $(cat /pid) --link-remap {CRIU}")
        left = container.exec("ls", "/dev/shm").split()
        assert sorted(name.partition(".")[0] for name in left) == ["link_remap", "proof-ring", "sem"]
        shell(container, f"rm /dev/shm/* {LOG}")
        yield container


def shell(container: Container, script: str) -> None:
    container.exec("sh", "-c", script)


def wait_for(container: Container, count: int) -> list[str]:
    """Return the program's lines once there are `count`."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = container.attempt("cat", LOG).output.splitlines()
        if len(lines) >= count:
            return lines
        time.sleep(0.05)
    raise TimeoutError(f"no {count} lines in {LOG}")


def end(container: Container) -> None:
    shell(container, "kill -KILL $(cat /pid); while kill -0 $(cat /pid); do sleep 0.05; done")


def plan(container: Container) -> tuple[int, str]:
    done = container.attempt(PYTHON, "-m", "llmux.criu_images", "plan", "/images")
    return done.code, done.output


@pytest.mark.demand("link-remap-again", "remaps-elsewhere", "pre-restore", "pre-resume")
def test_one_checkpoint_is_restored_again_and_again(container: Container) -> None:
    for times in (1, 2, 3):
        shell(container, RESTORE)
        shell(container, "kill -USR1 $(cat /pid)")
        lines = wait_for(container, 1 + times)
        assert lines[0] == "ring 1, semaphore 1, by its name 1"
        assert lines[1:] == ["ring 2, semaphore 2, by its name 2"] * times
        code, said = plan(container)
        assert code == 3
        assert "proof-ring: has other content than in the dump. A process has it open" in said
        end(container)
    shell(container, f"{PYTHON} -m llmux.criu_images finish /images")
    assert container.exec("ls", "/run/llmux/journals").split() == ["in-memory"]


@pytest.mark.demand("failed-restore")
def test_a_restore_whose_program_is_of_no_use_can_be_undone(container: Container) -> None:
    shell(container, RESTORE)
    end(container)
    shell(container, f"rm {LOG}; {PYTHON} -m llmux.criu_images undo /images")
    assert container.exec("ls", "/run/llmux/journals").split() == ["in-memory"]
    assert container.exec("ls", "/dev/shm") == ""


@pytest.mark.demand("failed-restore")
def test_what_others_put_there_stays(container: Container) -> None:
    shell(container, "echo theirs > /dev/shm/proof-ring")
    assert container.attempt("sh", "-c", RESTORE).code != 0
    assert "No process has it open: remove it if nobody needs it" in plan(container)[1]
    assert container.exec("cat", "/dev/shm/proof-ring") == "theirs\n"
    shell(container, "rm /dev/shm/proof-ring")
    shell(container, RESTORE)


def test_a_second_dump_into_one_directory_is_captured_in_place_of_the_first(container: Container) -> None:
    first = container.exec("cat", "/images/llmux-manifest.json")
    again = container.attempt(PYTHON, "-m", "llmux.criu_images", "capture", "/images")
    assert again.code == 2
    assert "/images: this dump is captured already" in again.errors
    assert container.exec("cat", "/images/llmux-manifest.json") == first
    shell(container, RESTORE)
    shell(container, f"criu dump --tree $(cat /pid) --link-remap {CRIU}")
    assert container.exec("cat", "/images/llmux-manifest.json") != first
    shell(container, f"{PYTHON} -m llmux.criu_images verify /images")


def test_the_hook_names_the_directory_as_people_do(container: Container) -> None:
    shell(container, "chmod o+w /images")
    refused = container.attempt("sh", "-c", RESTORE)
    assert refused.code != 0
    said = [line for line in refused.errors.splitlines() if line.startswith("llmux-criu-hook: ")]
    assert "llmux-criu-hook: /images: every user may write to the checkpoint" in "\n".join(said)
    assert "/proc/" not in "".join(said)
