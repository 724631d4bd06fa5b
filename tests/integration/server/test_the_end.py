"""llmux is told to stop: every model sleeps on disk afterwards, and a container of a newer llmux wakes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from proof._commands import run
from proof.bench import Bench, Model, Node, Settings
from proof.client import RefusedError
from proof.containers import PREFIX
from proof.story import check_restored, remember

pytestmark = pytest.mark.docker

DISK, MEMORY, WARM = "on-disk", "in-memory", "kept-warm"
KEPT = {"eviction": {"weights": "discard", "process": "keep_running"}}
THREE = Settings(models=(Model(DISK, 8001), Model(MEMORY, 8002, KEPT), Model(WARM, 8003, KEPT)))
NEWER = "0.99.0"
RENUMBER = f"sed -i 's/^Version: .*/Version: {NEWER}/' /opt/llmux/lib/python3*/site-packages/llmux-*.dist-info/METADATA"


@contextmanager
def newer_llmux(node: Node) -> Iterator[str]:
    """Make an image of a container's in which llmux has another version."""
    image = f"{PREFIX}newer:latest"
    node.container.exec("sh", "-c", RENUMBER)
    run(["docker", "commit", node.container.name, image])
    try:
        yield image
    finally:
        run(["docker", "rmi", "--force", image])


def test_after_docker_stop_a_newer_llmux_has_every_model_asleep_and_the_same_one_answers(desk: Bench) -> None:
    with desk.node("a", Settings()) as other, newer_llmux(other) as image:
        with desk.node("a", THREE) as a:
            known = [remember(a, model) for model in (DISK, MEMORY, WARM)]
            a.llmux.sleep(WARM)
            assert a.container.stop() < 25
            assert a.container.exit_code == 0
            assert "could not" not in a.container.logs()
        with replace(desk, image=image).node("b", THREE) as b:
            assert NEWER in b.container.exec("llmux", "--version")
            assert {b.llmux.status(each.model)["state"] for each in known} == {"asleep"}
            assert not b.sandboxed()
            for sleeper in known:
                b.llmux.chat(sleeper.model)
                check_restored(b, sleeper)


def test_an_answer_under_way_is_finished_and_a_new_request_is_told_to_come_back(desk: Bench) -> None:
    with desk.node("a", Settings(models=(Model(DISK, 8001),))) as a:
        whole = "".join(a.llmux.stream(DISK, max_tokens=200))
        pieces = a.llmux.stream(DISK, max_tokens=200)
        got = [next(pieces)]
        stopping = threading.Thread(target=a.container.stop)
        stopping.start()
        refused = refusal(a)
        got += pieces
        stopping.join()
        assert "".join(got) == whole
        assert refused is None or refused.status == 503
        assert a.container.exit_code == 0


def refusal(node: Node) -> RefusedError | None:
    """Ask until one is refused; None where llmux has ended before."""
    with suppress(OSError):
        while True:
            try:
                node.llmux.chat(DISK, max_tokens=1)
            except RefusedError as refused:
                return refused
    return None
