"""Adapters of a real tiny engine as models: what llmux loads, what goes for another, and what a sleep leaves."""

from __future__ import annotations

import asyncio
import subprocess  # noqa: TID251 - training is a command
import sys
from pathlib import Path

import pytest

from tests.integration.server.test_serving import CHAT, NAME, QUESTION, configuration, serving

pytestmark = pytest.mark.root


@pytest.fixture(scope="session")
def adapters(trained, tmp_path_factory) -> dict[str, Path]:
    """Three adapters of different seeds."""
    return {
        name: trained_adapter(trained, tmp_path_factory.mktemp(name), seed)
        for seed, name in enumerate(("keeper", "pilot", "gull"), start=1)
    }


def trained_adapter(model: Path, directory: Path, seed: int) -> Path:
    command = [sys.executable, "-m", "llmux.tiny_engine", "train-adapter"]
    subprocess.run([*command, model, directory, "--seed", str(seed)], check=True, capture_output=True)
    return directory


def document(tmp_path, trained, adapters, **fields):
    paths = {name: str(path) for name, path in adapters.items()}
    return configuration(tmp_path, trained, adapters=paths, max_adapters=2, **fields)


async def answer(caller, model, **fields):
    status, body = await caller.call("POST", CHAT, QUESTION | {"model": model} | fields)
    assert status == 200, body
    assert body["model"] == model
    return body["choices"][0]["message"]["content"]


async def loaded(caller):
    _, body = await caller.call("GET", f"{caller.engine}/v1/models")
    return {card["id"] for card in body["data"]} - {NAME}


async def test_adapters_answer_in_turn_with_room_for_two(tmp_path, trained, adapters):
    async with serving(document(tmp_path, trained, adapters)) as caller:
        names = [NAME, *adapters]
        answers = [await answer(caller, name) for name in names]
        assert len(set(answers)) == len(names)
        assert await loaded(caller) == {"pilot", "gull"}
        assert [await answer(caller, name) for name in names] == answers
        told = (await caller.status())["adapters"]
        assert {name for name, each in told.items() if each["loaded_by"]} == await loaded(caller)


async def test_a_rush_on_all_of_them_is_answered_by_each_as_itself(tmp_path, trained, adapters):
    async with serving(document(tmp_path, trained, adapters)) as caller:
        names = [NAME, *adapters]
        alone = {name: await answer(caller, name) for name in names}
        rush = names * 8
        assert await asyncio.gather(*(answer(caller, name) for name in rush)) == [
            alone[name] for name in rush
        ]


@pytest.mark.parametrize("weights", ["retain", "offload", "discard"])
async def test_an_adapter_answers_the_same_after_a_sleep_of_a_kept_process(
    tmp_path, trained, adapters, weights
):
    async with serving(document(tmp_path, trained, adapters)) as caller:
        before = await answer(caller, "keeper")
        assert (await caller.sleep(weights, "keep_running"))[0] == 200
        assert await answer(caller, "keeper") == before


async def test_an_adapters_request_wakes_its_base_and_loads_anew_after_a_cold_start(
    tmp_path, trained, adapters
):
    async with serving(document(tmp_path, trained, adapters)) as caller:
        before = await answer(caller, "keeper")
        assert (await caller.sleep("discard", "stop"))[0] == 200
        assert await answer(caller, "keeper") == before
        assert await loaded(caller) == {"keeper"}


async def test_an_adapter_that_is_not_there_is_a_503_and_its_base_serves_on(tmp_path, trained):
    fields = configuration(tmp_path, trained, adapters={"lost": "/nowhere/lost"})
    async with serving(fields) as caller:
        status, body = await caller.call("POST", CHAT, QUESTION | {"model": "lost"})
        assert (status, body["error"]["code"]) == (503, "adapter_not_loaded")
        assert "/nowhere/lost" in body["error"]["message"]
        assert await caller.answer()


async def test_adapters_are_listed_while_nothing_runs(tmp_path, trained, adapters):
    async with serving(document(tmp_path, trained, adapters)) as caller:
        status, body = await caller.call("GET", "/v1/models")
        assert status == 200
        cards = {card["id"]: (card["parent"], card["root"]) for card in body["data"]}
        assert cards == {NAME: (None, NAME)} | {name: (NAME, str(path)) for name, path in adapters.items()}
