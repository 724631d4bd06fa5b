"""A model's hands as far as they need neither engine nor CRIU: what they find, and what they keep in sight of a sandbox."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from aiohttp import web

from llmux.criu_images import Inventory, PathKind, PathReference, RawPath, _journals, rebuild
from llmux.criu_images._capture import Subject, capture_subject, survey_place
from llmux.criu_images._records import Pid
from llmux.criu_images._safefs import Tree
from llmux.server import _work, config
from llmux.server._adoption import Place
from llmux.server._checkpoints import CheckpointStore
from llmux.server._criu import CriuSettings
from llmux.server._effect_errors import CriuMissing
from llmux.server._model import Eviction, Process, Weights
from llmux.server._work import Criu, EngineHands
from llmux.server.cuda.devices import Devices, Gpu
from llmux.server.cuda.errors import GpusDiffer
from llmux.server.cuda.suspend import CudaSettings
from llmux.server.errors import EngineNotHealthy, NodeUnfit, Problem

LACK = CriuMissing("criu", "there is no such program", hint="Install it")


@pytest.fixture
def make(tmp_path: Path):
    def make(lack=None, **model) -> EngineHands:
        document = {
            "models": {"m": {"model_path": "org/name", "port": 8001, **model}},
            "checkpoint": {"images_dir": str(tmp_path / "images")},
            "log_dir": str(tmp_path / "log"),
            "state_dir": str(tmp_path / "state"),
        }
        place = Place(tmp_path / "engines", "here", 0.0)
        settings = config.parse(json.dumps(document))
        store = CheckpointStore(settings.checkpoint.images_dir)
        return EngineHands(
            "m", ("m", settings.models["m"]), settings, place, store, Criu(CriuSettings(), lack)
        )

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
    for name in ("model", "hub", "own", "older", "adapter"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    hands = make(
        model_path=str(tmp_path / "model"),
        env={"VLLM_CACHE_ROOT": str(tmp_path / "own"), "HF_HUB_CACHE": str(tmp_path / "missing")},
        checkpoint_path=str(tmp_path / "older"),
        adapters={"a": str(tmp_path / "adapter"), "b": "org/elsewhere"},
    )
    kept = set(hands._shared_directories())
    assert kept >= {tmp_path / name for name in ("log", "images", "model", "hub", "own", "older", "adapter")}
    assert tmp_path / "missing" not in kept
    assert all(path.is_absolute() for path in kept)


def test_an_engine_inherits_no_key_for_a_server_elsewhere():
    models = {
        "m": {"model_path": "x", "engine": "tiny", "port": 8001},
        "far": {
            "model_path": "y",
            "engine": "remote",
            "remote": {"url": "https://x", "api_key_env": "UPSTREAM_KEY"},
        },
    }
    settings = config.parse(json.dumps({"models": models}))
    environ = {"UPSTREAM_KEY": "sk-ours", "HF_HOME": "/cache"}
    assert _work.inherited(settings, environ) == {"HF_HOME": "/cache"}


async def test_a_configured_sleep_to_disk_needs_criu_at_the_start(monkeypatch, tmp_path):
    async def lacking(_config):
        return Criu(CriuSettings(), LACK)

    monkeypatch.setattr(_work, "_prepare_criu", lacking)
    models = {"m": {"model_path": "org/name", "port": 8001}}
    said = r"m sleeps on disk, and criu cannot be run: there is no such program. Install it\nAsk a doctor"
    with pytest.raises(NodeUnfit, match=said):
        await _work.make_hands(config.parse(json.dumps({"models": models})), {"m": ()}, hint="Ask a doctor")
    models["m"]["eviction"] = {"process": "stop"}
    assert set(await _work.make_hands(config.parse(json.dumps({"models": models})), {"m": ()})) == {"m"}


class StandInChild:
    """An engine's process, which ends when it is told to."""

    pid = 1000

    def __init__(self):
        self.returncode: int | None = None

    async def terminate(self, _grace):
        self.returncode = -15


class StandInSandbox:
    init_pid = 4711
    berth = None
    closed = False

    async def close(self):
        self.closed = True


class Restored:
    """A stand-in for CRIU: what its hook does at pre-restore, and an engine that is there or is not."""

    def __init__(self, monkeypatch, tmp_path):
        self.journals = tmp_path / "journals"
        monkeypatch.setattr(_journals, "DEFAULT_DIRECTORY", self.journals)
        monkeypatch.setattr(_work._criu, "restore", self.restore)
        monkeypatch.setattr(_work.Sandbox, "create", self.create)
        self.file = tmp_path / "app.log"
        self.sandbox = StandInSandbox()
        self.child = StandInChild()

    async def create(self, *_arguments, **_options):
        return self.sandbox

    async def restore(self, _settings, _sandbox, directory, **_options):
        await asyncio.to_thread(rebuild, directory)
        assert await self.found() == ("logged", True)
        return self.child

    def checkpoint(self, directory: Path) -> None:
        """Capture a file, and take it away as a fresh container does."""
        self.file.write_text("logged")
        reference = PathReference(RawPath(os.fsencode(self.file)), PathKind.REGULAR, (), 6)
        inventory = Inventory((reference,), (), (), (), (), (), ())
        with Tree(Path("/")) as tree:
            capture_subject(Subject(inventory, Pid(1), frozenset()), directory, survey_place(tree, 0), None)
        self.file.unlink()

    async def found(self) -> tuple[str | None, bool]:
        """Return what is in the file now, None if it is gone, and whether it can still be taken back."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> tuple[str | None, bool]:
        content = self.file.read_text() if self.file.exists() else None
        return content, any(self.journals.glob("*.json"))


class CheckpointLife:
    """A life whose dump is what `Restored` makes."""

    started_at = 1000.0
    had: Devices | None = None

    def __init__(self, restored):
        self._restored = restored

    async def dump(self, directory):
        await asyncio.to_thread(self._restored.checkpoint, directory)
        return self.had


@pytest.fixture
async def waking(make, monkeypatch, tmp_path, serve):
    """Give the hands of a model with a checkpoint, and what its restore comes to."""

    async def prepare(health: int, wake: float = 30):
        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=health if request.path == "/health" else 200)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        url = await serve(app)
        restored = Restored(monkeypatch, tmp_path)
        hands = await asyncio.to_thread(make, port=url.port, timeouts={"wake": wake})
        await hands.dump(CheckpointLife(restored), Eviction(Weights.RETAIN, Process.CHECKPOINT), 0.0)
        return hands, restored

    return prepare


@pytest.mark.root
async def test_once_the_engine_is_well_what_was_made_for_it_stays(waking):
    hands, restored = await waking(health=200)
    life, stored = await hands.restore()
    await life.close()
    assert await restored.found() == ("logged", False)
    assert isinstance(await hands.find(), type(stored))
    assert await restored.found() == ("logged", False)


@pytest.mark.root
async def test_what_has_left_gpus_of_another_kind_is_not_restored_in_vain(waking, monkeypatch):
    hands, restored = await waking(health=200)
    life = CheckpointLife(restored)
    life.had = Devices((Gpu("GPU-1", "H100"),))
    await hands.dump(life, Eviction(Weights.RETAIN, Process.CHECKPOINT), 0.0)
    monkeypatch.setattr(hands, "_cuda", CudaSettings(here=lambda: Devices((Gpu("GPU-2", "A100"),))))
    with pytest.raises(GpusDiffer, match="GPU-1 was one of H100"):
        await hands.restore()
    assert await restored.found() == (None, False)


@pytest.mark.root
async def test_where_the_engine_never_gets_well_nothing_that_was_made_for_it_stays(waking):
    hands, restored = await waking(health=503, wake=0.1)
    with pytest.raises(EngineNotHealthy):
        await hands.restore()
    assert restored.sandbox.closed
    assert await restored.found() == (None, False)


@pytest.mark.root
async def test_what_an_llmux_that_was_killed_while_it_woke_has_made_is_removed_at_the_next_start(waking):
    hands, restored = await waking(health=200)
    stored = await hands.find()
    await restored.restore(None, None, stored.path)
    assert isinstance(await hands.find(), type(stored))
    assert await restored.found() == (None, False)


@pytest.mark.root
async def test_what_has_changed_since_is_left_and_said(waking, caplog):
    hands, restored = await waking(health=200)
    stored = await hands.find()
    await restored.restore(None, None, stored.path)
    restored.file.write_text("somebody's own")
    await hands.find()
    assert (await restored.found())[0] == "somebody's own"
    assert f"m: {restored.file} was left: " in caplog.text
