"""llmux is killed while its engine has adapters loaded: the next one goes by what the engine has, not by what it has not seen."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.integration.server.test_adapters import adapters
from tests.integration.server.test_adoption import NAME, nothing_is_left, running

__all__ = ["adapters", "nothing_is_left"]

pytestmark = pytest.mark.root


def answer(llmux, model):
    messages = [{"role": "user", "content": "The lamp?"}]
    body = {"model": model, "temperature": 0, "max_tokens": 24, "messages": messages}
    said = llmux.ask("/v1/chat/completions", body)
    assert said["model"] == model
    return said["choices"][0]["message"]["content"]


def loaded(llmux):
    cards = llmux.ask("/v1/models", port=llmux.engine_port)["data"]
    return {card["id"] for card in cards} - {NAME}


def call_engine(llmux, path, body):
    """Do what llmux does, behind its back: of these calls the answer is text."""
    headers = {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{llmux.engine_port}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answered:
        assert answered.status == 200


@pytest.mark.parametrize("asleep", [False, True])
def test_an_adopted_engine_answers_with_what_it_has_loaded_and_the_limit_holds(
    tmp_path, trained, adapters, asleep
):
    with running(tmp_path, trained) as llmux:
        llmux.document["models"][NAME] |= {
            "adapters": {name: str(path) for name, path in adapters.items()},
            "max_adapters": 2,
        }
        llmux.stop()
        llmux.start()
        before = {name: answer(llmux, name) for name in (NAME, "keeper", "pilot", "gull")}
        instance = llmux.instance()
        assert loaded(llmux) == {"pilot", "gull"}
        if asleep:
            llmux.ask("/control/sleep", {"model": NAME})
        llmux.kill()
        llmux.start()
        for name in ("gull", "keeper", "pilot", NAME, "gull"):
            assert answer(llmux, name) == before[name]
        assert len(loaded(llmux)) == 2
        # What is loaded behind llmux's back is refused a second time as loaded already: that is no error.
        (missing,) = set(adapters) - loaded(llmux)
        call_engine(llmux, "/v1/unload_lora_adapter", {"lora_name": min(loaded(llmux))})
        call_engine(
            llmux, "/v1/load_lora_adapter", {"lora_name": missing, "lora_path": str(adapters[missing])}
        )
        assert answer(llmux, missing) == before[missing]
        assert llmux.instance() == instance
