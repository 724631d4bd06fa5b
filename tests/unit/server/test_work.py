"""A model's hands as far as they need neither engine nor CRIU: what they find, and what they keep in sight of a sandbox."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from llmux.server import _work, config
from llmux.server._checkpoints import CheckpointStore
from llmux.server._criu import CriuSettings
from llmux.server._effect_errors import CriuMissing
from llmux.server._model import Eviction, Process, Weights
from llmux.server._work import Criu, EngineHands
from llmux.server.errors import Problem

LACK = CriuMissing("criu", "there is no such program", hint="Install it")


@pytest.fixture
def make(tmp_path: Path):
    def make(lack=None, **model) -> EngineHands:
        document = {
            "models": {"m": {"model_path": "org/name", "port": 8001, **model}},
            "checkpoint": {"images_dir": str(tmp_path / "images")},
            "log_dir": str(tmp_path / "log"),
        }
        settings = config.parse(json.dumps(document))
        store = CheckpointStore(settings.checkpoint.images_dir)
        return EngineHands("m", settings, store, Criu(CriuSettings(), lack))

    return make


async def test_nothing_is_found_where_nothing_was_made(make):
    hands = await asyncio.to_thread(make)
    assert await hands.find() is None


async def test_what_is_no_checkpoint_is_found_as_a_problem(make, tmp_path):
    images = tmp_path / "images" / "m" / "images"
    images.mkdir(parents=True, mode=0o755)
    found = await (await asyncio.to_thread(make)).find()
    assert isinstance(found, Problem)
    assert (found.code, "manifest" in found.message) == ("checkpoint_invalid", True)


def test_a_sleep_to_disk_is_refused_with_what_criu_lacks_and_no_other_sleep_is(make):
    hands = make(LACK)
    assert "no such program" in hands.refusal(Eviction(Weights.DISCARD, Process.CHECKPOINT))
    assert not hands.refusal(Eviction(Weights.DISCARD, Process.STOP))


def test_checkpoints_models_caches_and_logs_stay_in_sight_of_a_private_tmp(make, tmp_path, monkeypatch):
    for name in ("model", "hub", "own", "older"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    hands = make(
        model_path=str(tmp_path / "model"),
        env={"VLLM_CACHE_ROOT": str(tmp_path / "own"), "HF_HUB_CACHE": str(tmp_path / "missing")},
        checkpoint_path=str(tmp_path / "older"),
    )
    kept = set(hands._shared_directories())
    assert kept >= {tmp_path / name for name in ("log", "images", "model", "hub", "own", "older")}
    assert tmp_path / "missing" not in kept
    assert all(path.is_absolute() for path in kept)


async def test_a_configured_sleep_to_disk_needs_criu_at_the_start(monkeypatch, tmp_path):
    async def lacking(_config):
        return Criu(CriuSettings(), LACK)

    monkeypatch.setattr(_work, "_prepare_criu", lacking)
    models = {"m": {"model_path": "org/name", "port": 8001}}
    with pytest.raises(CriuMissing):
        await _work.make_hands(config.parse(json.dumps({"models": models})))
    models["m"]["eviction"] = {"process": "stop"}
    assert set(await _work.make_hands(config.parse(json.dumps({"models": models})))) == {"m"}
