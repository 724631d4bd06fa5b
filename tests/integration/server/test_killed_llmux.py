"""llmux is killed by force in every state of a model, real engines, real CRIU: the next one finds it in a true state."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException

import pytest

from proof.bench import MODEL, UNDER_A_SHELL, Bench, Model, Node, Settings
from proof.client import RefusedError
from proof.containers import Mount

pytestmark = pytest.mark.docker

# So slow that a long answer is seen while it is under way.
SLOW = Model(fields={"extra_args": ["--token-delay", "0.02"]})
WRAPPED = Settings(models=(SLOW,), checkpoint={"criu_path": "/wrap/criu"})
KEPT = {"weights": "discard", "process": "keep_running"}
DISK = {"weights": "discard", "process": "checkpoint"}

# The real criu, with one more action script, which stops at the stage that a file names: the tree is frozen then, or half restored.
CRIU = """#!/bin/sh
case "$1" in dump | restore) exec /usr/local/bin/criu "$@" --action-script /wrap/stage ;; esac
exec /usr/local/bin/criu "$@"
"""
STAGE = """#!/bin/sh
[ -e "/wrap/$CRTOOLS_SCRIPT_ACTION" ] || exit 0
touch /run/reached
exec sleep 600
"""
SEEN = """
find /tmp /dev/shm /run/llmux /root/.cache /var/tmp -xdev -mindepth 1 ! -path '/run/llmux/journals*' ! -type d
cat /proc/self/mountinfo | cut -d' ' -f5
awk '$4 == "0A" {print $2}' /proc/net/tcp
"""


@contextmanager
def wrapped(desk: Bench) -> Iterator[Node]:
    """Run llmux under a shell, with a criu that can be told to stand still."""
    wrap = desk.directory / "wrap"
    wrap.mkdir()
    for name, text in (("criu", CRIU), ("stage", STAGE)):
        (wrap / name).write_text(text)
        (wrap / name).chmod(0o755)
    with desk.node("a", WRAPPED, mounts=(Mount(wrap, "/wrap"),), command=UNDER_A_SHELL) as node:
        yield node
    shutil.rmtree(wrap)


def starting(node: Node) -> None:
    node.llmux.sleep(MODEL, eviction={"process": "stop"})
    meanwhile(lambda: node.llmux.chat(MODEL))
    until_in(node, "starting")


def running(_node: Node) -> None:
    """Do nothing: it is."""


def draining(node: Node) -> None:
    meanwhile(lambda: list(node.llmux.stream(MODEL, max_tokens=2000)))
    until(lambda: node.llmux.status(MODEL)["in_flight"])
    meanwhile(lambda: node.llmux.sleep(MODEL))
    until(lambda: node.llmux.status(MODEL)["state"] != "running")


def being_dumped(node: Node) -> None:
    stand_still_at(node, "post-dump", lambda: node.llmux.sleep(MODEL))
    assert node.llmux.status(MODEL)["state"] == "going_to_sleep"


def asleep_on_disk(node: Node) -> None:
    node.llmux.sleep(MODEL)


def asleep_in_memory(node: Node) -> None:
    node.llmux.sleep(MODEL, eviction=KEPT)


def deepening(node: Node) -> None:
    node.llmux.sleep(MODEL, eviction=KEPT)
    stand_still_at(node, "post-dump", lambda: node.llmux.sleep(MODEL))
    assert node.llmux.status(MODEL)["state"] == "deepening"


def being_restored(node: Node) -> None:
    node.llmux.sleep(MODEL)
    stand_still_at(node, "post-restore", lambda: node.llmux.wake(MODEL))
    assert node.llmux.status(MODEL)["state"] == "waking"


@pytest.mark.parametrize(
    ("come_to", "found"),
    [
        (starting, {"not_started"}),
        (running, {"running"}),
        (draining, {"running", "not_started", "asleep"}),
        (being_dumped, {"not_started"}),
        (asleep_on_disk, {"asleep"}),
        (asleep_in_memory, {"asleep"}),
        (deepening, {"not_started"}),
        (being_restored, {"asleep"}),
    ],
)
def test_killed_in_a_state_and_started_again(
    desk: Bench, come_to: Callable[[Node], None], found: set[str]
) -> None:
    with wrapped(desk) as node:
        before = seen(node)
        answer, identity = node.llmux.chat(MODEL), node.identity()
        come_to(node)
        node.kill_llmux()
        node.container.exec("sh", "-c", "rm -f /wrap/p*")
        node.llmux.wait_until_it_answers()
        status = node.llmux.status(MODEL)
        assert status["state"] in found
        assert bool(node.sandboxed()) == (status["engine"] is not None)
        assert node.llmux.chat(MODEL) == answer
        if found <= {"asleep", "running"}:
            assert node.identity() == identity
        node.llmux.sleep(MODEL, eviction={"process": "stop"})
        assert not node.sandboxed()
        assert seen(node) - before <= {f for f in seen(node) if "/llmux-tiny/" in f}
        assert not list(desk.checkpoints.glob("*/.generation-*"))


def seen(node: Node) -> set[str]:
    """Return the files where engines have theirs, the mounts, and the ports that somebody listens on."""
    return set(node.container.exec("sh", "-c", SEEN).splitlines())


def stand_still_at(node: Node, stage: str, work: Callable[[], object]) -> None:
    node.container.exec("sh", "-c", f"rm -f /run/reached; touch /wrap/{stage}")
    meanwhile(work)
    until(lambda: node.container.attempt("test", "-e", "/run/reached").code == 0)


def meanwhile(work: Callable[[], object]) -> None:
    """Ask in a thread, for nothing: llmux is killed before the answer."""

    def ask() -> None:
        with suppress(OSError, HTTPException, RefusedError, ValueError):
            work()

    threading.Thread(target=ask, daemon=True).start()


def until_in(node: Node, state: str) -> None:
    until(lambda: node.llmux.status(MODEL)["state"] == state)


def until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
