"""LoRA adapters of an engine that is checkpointed in one container and restored in another."""

from __future__ import annotations

import pytest

from proof.bench import CHECKPOINTS, MODEL, Bench, Model, Node, Settings
from proof.client import request
from proof.story import check_restored, put_to_sleep, wake_and_check

pytestmark = pytest.mark.docker

ADAPTER = f"{CHECKPOINTS}/adapter"
PYTHON = "/opt/llmux/bin/python"


def settings(weights: str) -> Settings:
    fields = {
        "extra_args": ["--enable-lora"],
        "env": {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"},
        "eviction": {"weights": weights, "process": "checkpoint"},
    }
    return Settings(models=(Model(fields=fields),))


@pytest.mark.parametrize("weights", ["offload", "discard"])
def test_an_adapter_is_there_again_in_another_container(desk: Bench, weights: str) -> None:
    with desk.node("a", settings(weights)) as a:
        train = ("-m", "llmux.tiny_engine", "train-adapter", "Qwen/Qwen3-0.6B", ADAPTER, "--seed", "1")
        a.container.exec(PYTHON, *train, timeout=120)
        plain = a.llmux.chat(MODEL)
        body = {"lora_name": "keeper", "lora_path": ADAPTER}
        a.engine().text("POST", "/v1/load_lora_adapter", body)
        adapted = answer_of_adapter(a)
        sleeper = put_to_sleep(a)
        # What the engine keeps in its memory needs no file any more; what it gave up, it reads again.
        if weights == "offload":
            a.container.exec("rm", "-r", ADAPTER)
    with desk.node("b", settings(weights)) as b:
        wake_and_check(b, sleeper)
        assert answer_of_adapter(b) == adapted != plain


CONFIGURED = "keeper"


def configured(weights: str) -> Settings:
    fields = {
        "adapters": {CONFIGURED: ADAPTER},
        "eviction": {"weights": weights, "process": "checkpoint"},
    }
    return Settings(models=(Model(fields=fields),))


@pytest.mark.parametrize("weights", ["offload", "discard"])
def test_an_adapter_that_llmux_loads_answers_again_in_another_container(desk: Bench, weights: str) -> None:
    with desk.node("a", configured(weights)) as a:
        train = ("-m", "llmux.tiny_engine", "train-adapter", "Qwen/Qwen3-0.6B", ADAPTER, "--seed", "1")
        a.container.exec(PYTHON, *train, timeout=120)
        adapted = a.llmux.chat(CONFIGURED)
        sleeper = put_to_sleep(a)
        assert adapted != sleeper.answer
        if weights == "offload":
            a.container.exec("rm", "-r", ADAPTER)
    with desk.node("b", configured(weights)) as b:
        assert b.llmux.chat(CONFIGURED) == adapted  # its own request wakes its base
        check_restored(b, sleeper)
        assert b.llmux.status(MODEL)["adapters"][CONFIGURED]["loaded_by"] == [MODEL]


def answer_of_adapter(node: Node) -> str:
    answer = node.engine().json("POST", "/v1/chat/completions", request("keeper"))
    return str(answer["choices"][0]["message"]["content"])
