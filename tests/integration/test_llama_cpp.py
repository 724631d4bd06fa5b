"""llama.cpp's real server under llmux: asleep in container A, awake in B, with the conversation that it had read."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from llama import model as tiny_model
from proof.bench import Bench, Model, Node, Settings, bench
from proof.client import Document, RefusedError, request
from proof.containers import Mount, check_image
from proof.story import checkpoint_of, how_woken

pytestmark = pytest.mark.docker

IMAGE = "llmux:programs"
SMALL = "small"
DISK = {"weights": "retain", "process": "checkpoint"}
STOP = {"weights": "discard", "process": "stop"}


def settings(eviction: dict[str, str]) -> Settings:
    fields = {
        "engine": "llama.cpp",
        "program": ["python3", "/llama/server.py"],
        "model_path": "/llama/model.gguf",
        "extra_args": ["--ctx-size", "512", "--slot-save-path", "/slots/"],
        "env": {"PYTHONPATH": "/llama/packages"},
        "eviction": eviction,
    }
    return Settings(models=(Model(SMALL, fields=fields),))


@pytest.fixture
def desk(nothing_left_behind: None, tmp_path: Path) -> Iterator[Bench]:
    """Give a case a bench with the image that has what llama.cpp is linked to."""
    check_image(IMAGE)
    with bench(IMAGE, tmp_path) as here:
        yield here


@pytest.fixture
def mounts(tmp_path_factory) -> tuple[Mount, ...]:
    directory = tmp_path_factory.mktemp("llama")
    tiny_model.make(directory / "model.gguf")
    found = find_spec("xllamacpp")
    assert found
    assert found.origin
    (directory / "slots").mkdir()
    return (
        Mount(Path(tiny_model.__file__).with_name("server.py"), "/llama/server.py", read_only=True),
        Mount(Path(found.origin).parent, "/llama/packages/xllamacpp", read_only=True),
        Mount(directory / "model.gguf", "/llama/model.gguf", read_only=True),
        Mount(directory / "slots", "/slots"),
    )


def asked(node: Node) -> Document:
    return node.llmux.http.json("POST", "/v1/chat/completions", request(SMALL), timeout=120)


def said(answer: Document) -> str:
    return str(answer["choices"][0]["message"]["content"])


def cached(answer: Document) -> int:
    """Return how much of the prompt it had read before."""
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_it_sleeps_on_disk_in_a_and_wakes_in_b_with_the_prompt_that_it_had_read(desk: Bench, mounts) -> None:
    with desk.node("a", settings(DISK), mounts=mounts) as a:
        before = asked(a)
        assert said(before)
        assert cached(before) == 0
        with pytest.raises(RefusedError, match=r"llama\.cpp has no call to offload its weights"):
            a.llmux.sleep(SMALL, eviction={"weights": "offload", "process": "keep_running"})
        checkpoint_of(a.llmux.sleep(SMALL))
    with desk.node("b", settings(DISK), mounts=mounts) as b:
        after = asked(b)
        assert how_woken(b.llmux.status(SMALL)) == "restored"
        assert said(after) == said(before)
        assert cached(after) > 0


def test_stopped_in_a_it_starts_in_b_with_the_slots_that_it_had_saved(desk: Bench, mounts) -> None:
    with desk.node("a", settings(STOP), mounts=mounts) as a:
        before = asked(a)
        a.llmux.sleep(SMALL)
    with desk.node("b", settings(STOP), mounts=mounts) as b:
        after = asked(b)
        assert how_woken(b.llmux.status(SMALL)) == "cold_start"
        assert said(after) == said(before)
        assert cached(after) > 0
