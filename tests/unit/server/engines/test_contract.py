"""What llmux relies on of every engine that runs here, against a stand-in for each one's server; the real ones are in tests/integration."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import unused_port
from stand_ins import GONE, IN_HOST_MEMORY, THERE, LlamaCpp, Napping, Sglang, StandIn, Vllm

from llmux.server._effect_errors import EngineRefused, EngineUnreachable
from llmux.server._model import Eviction, Process, Weights
from llmux.server.config import ModelConfig, _matrix
from llmux.server.config._engines import ABILITIES, EngineName
from llmux.server.engines import Engine, make, open_session

NAPS = {
    "health": "/ready",
    "sleep": {"method": "PUT", "path": "/nap/{weights}"},
    "wake": [
        {"path": "/rise", "body": {"who": ["{name}"], "from": "{model_path}"}},
        {"path": "/load?path={model_path}"},
    ],
}
AFTER = {Weights.RETAIN: THERE, Weights.OFFLOAD: IN_HOST_MEMORY, Weights.DISCARD: GONE}


@dataclass(frozen=True)
class Case:
    """An engine as it is configured, and the stand-in for its server."""

    engine: EngineName
    server: Callable[[], StandIn]
    fields: dict[str, object] = field(default_factory=dict)
    keeps: bool = False
    """It has no call that lets go of weights, though llmux does not know that of it."""

    def __str__(self) -> str:
        return f"{self.engine}{'-calls' if 'calls' in self.fields else '-keeps' if self.keeps else ''}"


CASES = (
    Case("vllm", Vllm),
    Case("tiny", Vllm),
    Case("sglang", lambda: Sglang(busy_for=2)),
    Case("sglang", lambda: Sglang(backup=True), {"extra_args": ["--enable-weights-cpu-backup"]}),
    Case("llama.cpp", LlamaCpp),
    Case("command", Vllm, {"command": ["serve", "{model_path}", "--port={port}", "--name={name}"]}),
    Case("command", Napping, {"command": ["serve", "{model_path}", "{port}", "{name}"], "calls": NAPS}),
    Case("command", LlamaCpp, {"command": ["serve", "{model_path}", "{port}", "{name}"]}, keeps=True),
)


@pytest.fixture(params=CASES, ids=str)
def case(request) -> Case:
    return request.param


@pytest.fixture
def server(case) -> StandIn:
    return case.server()


def engine_of(case: Case, port: int) -> Engine:
    model = {"model_path": "org/name", "port": port, "engine": case.engine, **case.fields}
    timeouts = {"health": 5, "sleep": 5, "wake": 5}
    parsed = ModelConfig.model_validate_json(json.dumps(model | {"timeouts": timeouts}))
    return make("m", parsed, Path("/logs/m.log"))


@pytest.fixture
async def engine(case, server, serve) -> Engine:
    return engine_of(case, (await serve(server.app())).port)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


def able(case: Case) -> list[Weights]:
    args = case.fields.get("extra_args", ())
    return [
        each
        for each in Weights
        if not _matrix.unable(Eviction(each, Process.KEEP_RUNNING), case.engine, args)
    ]


def test_every_engine_that_runs_here_has_its_case():
    assert {case.engine for case in CASES} == {name for name, each in ABILITIES.items() if each.runs_here}


def test_its_line_has_the_model_its_name_and_its_port_and_listens_on_the_loopback_alone(case):
    argv = engine_of(case, 8123).command({}).argv
    line = " ".join(argv)
    assert "org/name" in line
    assert "8123" in line
    assert any(word.endswith("m") for word in argv)
    assert case.engine == "command" or "--host 127.0.0.1 --port 8123" in line


def test_it_inherits_the_environment_and_the_models_own_wins(case):
    own = Case(case.engine, case.server, {**case.fields, "env": {"A": "own"}})
    command = engine_of(own, 8123).command({"A": "inherited", "HF_HOME": "/hf"})
    assert (
        command.env.items()
        >= {"A": "own", "HF_HOME": "/hf", "PYTHONUNBUFFERED": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}.items()
    )
    assert (command.cwd, command.log) == ("/", Path("/logs/m.log"))


async def test_it_is_healthy_once_it_is_loaded(engine, server, session):
    server.loaded = False
    assert not await engine.healthy(session)
    with pytest.raises(EngineRefused, match="answers 503: Loading model"):
        await engine.ask_health(session)
    server.loaded = True
    assert await engine.healthy(session)
    await engine.ask_health(session)


@pytest.mark.parametrize("weights", Weights)
async def test_it_lets_go_of_its_weights_as_far_as_it_is_able_to_and_serves_again(
    case, engine, server, session, weights
):
    if weights not in able(case):
        assert "has no call to" in _refusal(case, weights) or "in extra_args only" in _refusal(case, weights)
        return
    for _ in range(2):
        await engine.sleep(session, weights)
        backed_up = isinstance(server, Sglang) and server.backup and weights is Weights.DISCARD
        assert server.weights == (THERE if case.keeps else IN_HOST_MEMORY if backed_up else AFTER[weights])
        await engine.wake(session, weights)
        assert server.serves


def _refusal(case: Case, weights: Weights) -> str:
    return _matrix.unable(Eviction(weights, Process.KEEP_RUNNING), case.engine)


async def test_weights_that_are_retained_are_nothing_to_ask_for(engine, server, session):
    await engine.sleep(session, Weights.RETAIN)
    await engine.wake(session, Weights.RETAIN)
    assert server.heard == []


async def test_no_connection_is_kept(case, engine, server, session):
    await engine.healthy(session)
    for weights in able(case):
        await engine.sleep(session, weights)
        await engine.wake(session, weights)
    assert server.kept_open == 0


async def test_an_error_names_url_status_and_log(case, engine, server, session):
    server.broken = True
    if able(case) == [Weights.RETAIN]:
        assert not await engine.healthy(session)
        return
    with pytest.raises(
        EngineRefused, match=rf"^http://127\.0\.0\.1:{engine.url.port}/\S+ answers 500: out of"
    ) as refused:
        await engine.sleep(session, Weights.DISCARD)
    assert "/logs/m.log" in refused.value.hint
    with pytest.raises(EngineRefused):
        await engine.wake(session, Weights.DISCARD)


async def test_that_nobody_is_there_is_told(case, session):
    nobody = engine_of(case, unused_port())
    assert not await nobody.healthy(session)
    with pytest.raises(EngineUnreachable, match="does not answer"):
        await nobody.ask_health(session)
