"""One checkpoint, mounted read-only, restored in several containers at once, again in each, and twice in one container."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from proof.containers import Container, Mount, Run, check_image, started

pytestmark = [pytest.mark.docker, pytest.mark.demand("again", "read-only")]

IMAGE = "llmux:tiny"
REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
"""A first process under which ended ones do not stay as zombies, whose ids would be in use."""
PYTHON = "/opt/llmux/bin/python"
LOG = "/var/log/program"
HOOK = "--images-dir /images --action-script /usr/local/bin/llmux-criu-hook"
DUMP = f"""
set -eu
echo 999 > /proc/sys/kernel/ns_last_pid
setsid {PYTHON} /program.py < /dev/null >> {LOG} 2>&1 &
echo $! > /images/pid
until grep -q ring {LOG}; do sleep 0.05; done
criu dump --tree $(cat /images/pid) --link-remap {HOOK}
"""
RESTORE = f"""
set -eu
mkdir -p /tmp/work
echo 4999 > /proc/sys/kernel/ns_last_pid
criu restore --restore-detached --work-dir /tmp/work --log-file restore.log {HOOK}
kill -USR1 $(cat /images/pid)
"""
END = "kill -KILL $(cat /images/pid); while kill -0 $(cat /images/pid) 2>/dev/null; do sleep 0.05; done"
IN_A_NAMESPACE = f"""
mount -t tmpfs tmpfs /dev/shm
{RESTORE}
{PYTHON} -m llmux.criu_images plan --json /images > /plan.$1 || true
touch /restored.$1
until [ -e /finish.$1 ]; do sleep 0.05; done
{PYTHON} -m llmux.criu_images finish /images > /finished.$1
touch /done.$1
sleep 600
"""


@pytest.fixture(scope="module")
def images(nothing_left_behind: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a checkpoint of a program with a ring in shared memory and a semaphore that is reached through a link remap."""
    check_image(IMAGE)
    directory = tmp_path_factory.mktemp("images")
    with started(Run(IMAGE, (PROGRAM, Mount(directory, "/images")), command=REAPS), "source") as container:
        container.exec("sh", "-c", DUMP)
    return directory


PROGRAM = Mount(Path(__file__).with_name("program.py"), "/program.py", read_only=True)


@pytest.fixture
def containers(images: Path) -> Iterator[list[Container]]:
    """Start four fresh containers, which have the checkpoint read-only."""
    mounts = (PROGRAM, Mount(images, "/images", read_only=True))
    with ExitStack() as stack:
        options = Run(IMAGE, mounts, command=REAPS)
        yield [stack.enter_context(started(options, f"beside-{number}")) for number in range(4)]


def contents(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def until(container: Container, *paths: str) -> None:
    deadline = time.monotonic() + 30
    while container.attempt("ls", *paths).code != 0:
        assert time.monotonic() < deadline, f"no {paths} in time"
        time.sleep(0.05)


def lines_of(container: Container, count: int) -> list[str]:
    deadline = time.monotonic() + 20
    while len(lines := container.exec("cat", LOG).splitlines()) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return lines


def test_four_containers_at_once_and_then_again(images: Path, containers: list[Container]) -> None:
    before = contents(images)
    for times in (1, 2):
        with ThreadPoolExecutor(len(containers)) as pool:
            list(pool.map(lambda container: container.exec("sh", "-c", RESTORE), containers))
        for container in containers:
            lines = lines_of(container, 1 + times)
            assert lines == [
                "ring 1, semaphore 1, by its name 1",
                *["ring 2, semaphore 2, by its name 2"] * times,
            ]
            container.exec("sh", "-c", END)
    assert contents(images) == before


def test_two_in_one_container_each_with_its_own_shared_memory(containers: list[Container]) -> None:
    container = containers[0]
    for name in ("one", "two"):
        container.start(
            "unshare", "--pid", "--mount", "--fork", "--mount-proc", "sh", "-c", IN_A_NAMESPACE, "-", name
        )
    until(container, "/restored.one", "/restored.two")
    assert sorted(lines_of(container, 3)) == [
        "ring 1, semaphore 1, by its name 1",
        *["ring 2, semaphore 2, by its name 2"] * 2,
    ]
    journals = container.exec("sh", "-c", "ls /run/llmux/journals/*.json").split()
    assert len(journals) == 2
    unclear = container.attempt(PYTHON, "-m", "llmux.criu_images", "undo", "/images")
    assert unclear.code != 0
    assert "2 restores of this dump are not finished" in unclear.errors
    container.exec("touch", "/finish.one", "/finish.two")
    until(container, "/done.one", "/done.two")
    assert container.attempt("sh", "-c", "ls /run/llmux/journals/*.json").code != 0


def test_a_rebuild_that_no_restore_has_used_yet_keeps_others_out(containers: list[Container]) -> None:
    container = containers[2]
    ours = f"{PYTHON} -m llmux.criu_images"
    container.start(
        "unshare", "--mount", "sh", "-c", f"{ours} rebuild /images && touch /built; sleep infinity"
    )
    until(container, "/built")
    refused = container.attempt("unshare", "--mount", "sh", "-c", f"{ours} rebuild /images")
    assert refused.code == 3
    assert "made for another restore that is not over" in refused.output + refused.errors
    from_outside = container.attempt("sh", "-c", f"{ours} undo /images")
    assert from_outside.code == 2
    assert "its restore is of another mount namespace, in which process" in from_outside.errors
    container.exec("sh", "-c", f"{ours} undo --journal /run/llmux/journals/*.json /images")
    container.exec("unshare", "--mount", "sh", "-c", f"{ours} rebuild /images")


def test_what_criu_itself_writes_beside_the_images_unless_told_otherwise(containers: list[Container]) -> None:
    container = containers[0]
    container.exec("sh", "-c", "echo 4999 > /proc/sys/kernel/ns_last_pid")
    its_log = container.attempt("sh", "-c", f"criu restore --restore-detached --log-file restore.log {HOOK}")
    assert its_log.code != 0
    assert "Can't create log file restore.log: Read-only file system" in its_log.errors
    its_statistics = container.attempt("sh", "-c", f"criu restore --restore-detached {HOOK}")
    assert "Unable to open stats-restore: Read-only file system" in its_statistics.errors
    assert its_statistics.code == 0
    container.exec("sh", "-c", "kill -USR1 $(cat /images/pid)")
    assert lines_of(container, 2)[-1] == "ring 2, semaphore 2, by its name 2"


STOPS = """#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = post-restore ] || exit 0
touch /stopped
until [ -e /go ]; do sleep 0.05; done
"""
"""Stops CRIU once all processes are made and before it takes away the link remap."""
OUTCOME = f"({RESTORE}) > /said 2>&1 && echo restored || {{ cat /said; grep -E 'Error|llmux-criu-hook:' /tmp/work/restore.log; }}"


@pytest.fixture
def sharing(images: Path) -> Iterator[tuple[Container, Container]]:
    """Start two containers that share /dev/shm and nothing else but the checkpoint: not /run/llmux, where the journals are."""
    mounts = (PROGRAM, Mount(images, "/images", read_only=True))
    with ExitStack() as stack:
        one = stack.enter_context(
            started(Run(IMAGE, mounts, flags=("--ipc=shareable",), command=REAPS), "shares")
        )
        joined = (f"--ipc=container:{one.name}",)
        two = stack.enter_context(started(Run(IMAGE, mounts, flags=joined, command=REAPS), "shared"))
        yield one, two


def lost_by(outcome: str) -> bool:
    """Tell whether it was refused before anything was forked; nothing else but success will do."""
    if outcome == "restored\n":
        return False
    # While the other is under way, or when it has just ended.
    assert "another restore" in outcome or "A process has it open" in outcome
    assert "nothing was started" in outcome
    return True


@pytest.mark.demand("link-remap")
def test_two_containers_that_race_for_one_shared_memory(sharing: tuple[Container, Container]) -> None:
    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(lambda container: container.exec("sh", "-c", OUTCOME), sharing))
        lost = [lost_by(outcome) for outcome in outcomes]
        assert not all(lost)
        for container, refused in zip(sharing, lost, strict=True):
            alive = container.attempt("sh", "-c", "grep -q 'State:.[SR]' /proc/$(cat /images/pid)/status")
            assert (alive.code != 0) == refused
            if not refused:
                container.exec("sh", "-c", END)
        sharing[0].exec("sh", "-c", "rm -f /dev/shm/*")


@pytest.mark.demand("link-remap")
def test_a_link_remap_is_one_restores_until_criu_is_done_with_it(
    sharing: tuple[Container, Container],
) -> None:
    one, two = sharing
    one.exec("sh", "-c", "cat > /stops; chmod +x /stops", given=STOPS)
    stopping = RESTORE.replace(HOOK, f"{HOOK} --action-script /stops")
    one.start("sh", "-c", f"({stopping}); touch /over")
    until(one, "/stopped")
    assert lost_by(two.exec("sh", "-c", OUTCOME))
    planned = two.attempt(PYTHON, "-m", "llmux.criu_images", "plan", "/images")
    assert planned.code == 3
    assert "another restore that is not over uses it" in planned.output + planned.errors
    one.exec("touch", "/go")
    until(one, "/over")
    assert lines_of(one, 2)[1:] == ["ring 2, semaphore 2, by its name 2"]
    one.exec("sh", "-c", f"{END}; rm /dev/shm/*")
    two.exec("sh", "-c", RESTORE)
    assert lines_of(two, 2)[1:] == ["ring 2, semaphore 2, by its name 2"]


@pytest.mark.demand("link-remap")
def test_a_link_remap_is_free_again_when_criu_is_killed(sharing: tuple[Container, Container]) -> None:
    one, two = sharing
    one.exec("sh", "-c", "cat > /stops; chmod +x /stops", given=STOPS)
    one.start("sh", "-c", RESTORE.replace(HOOK, f"{HOOK} --action-script /stops"))
    until(one, "/stopped")
    one.exec("sh", "-c", "kill -KILL $(pidof criu) $(cat /images/pid)")
    deadline = time.monotonic() + 20
    while lost_by(outcome := two.exec("sh", "-c", OUTCOME)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert outcome == "restored\n"
