"""Command lines, and the HTTP calls against a real server that speaks vLLM's API."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from llmux.server._effect_errors import EngineRefused, EngineUnreachable
from llmux.server._model import Weights
from llmux.server.config import ModelConfig, Timeouts
from llmux.server.engines import Engine, _http, make, open_session

LOGS = Path("/var/log/llmux")


def engine(port: int = 8001, **fields: object) -> Engine:
    model = {
        "model_path": "Qwen/Qwen3-0.6B",
        "port": port,
        "timeouts": Timeouts(health=5, sleep=5, wake=5),
        **fields,
    }
    return make("qwen3-0.6b", ModelConfig.model_validate(model), LOGS / "qwen3-0.6b.log")


@dataclass
class Vllm:
    """What a vLLM heard, and how it is to answer."""

    port: int = 0
    heard: list[str] = field(default_factory=list)
    status: int = 200
    closed: list[bool] = field(default_factory=list)
    cards: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.heard.append(f"{request.method} {request.path_qs} {body}".strip())
        self.closed.append(not request.keep_alive)
        if request.path == "/sleep" and self.status == 0:
            assert request.transport
            request.transport.abort()
        return web.Response(status=self.status or 200, text=self._text(request))

    def _text(self, request: web.Request) -> str:
        if self.status != 200:
            return "out of\norder"
        return self.cards if request.path == "/v1/models" else ""


@pytest.fixture
async def vllm() -> AsyncIterator[Vllm]:
    served = Vllm()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    async with TestServer(app) as server:
        assert server.port
        served.port = server.port
        yield served


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


def test_vllms_command(monkeypatch):
    monkeypatch.setattr(_http, "NVIDIA_CONTROL", Path("/no/such/device"))
    command = engine(extra_args=("--dtype", "float32"), env={"A": "own"}).command(
        {"A": "inherited", "HF_HOME": "/hf"}
    )
    assert (
        " ".join(command.argv)
        == "vllm serve Qwen/Qwen3-0.6B --host 127.0.0.1 --port 8001 --served-model-name qwen3-0.6b --dtype float32"
    )
    assert (
        command.env.items()
        >= {"A": "own", "HF_HOME": "/hf", "VLLM_SERVER_DEV_MODE": "1", "UV_USE_IO_URING": "0"}.items()
    )
    assert (command.cwd, command.log) == ("/", LOGS / "qwen3-0.6b.log")


def test_sleep_mode_is_for_accelerators(monkeypatch):
    monkeypatch.setattr(_http, "NVIDIA_CONTROL", Path("/dev/null"))
    assert "--enable-sleep-mode" in engine().command({}).argv


def test_ranks_that_are_to_leave_their_gpus_are_started_for_it_where_there_are_some(monkeypatch):
    monkeypatch.setattr(_http, "NVIDIA_CONTROL", Path("/dev/null"))
    two = engine(extra_args=("-tp", "2"), env={"NCCL_DEBUG": "INFO"}).command({"NCCL_P2P_DISABLE": "0"})
    assert " ".join(two.argv).endswith(
        "--enable-sleep-mode --disable-custom-all-reduce --enforce-eager -tp 2"
    )
    assert (
        two.env.items()
        >= {
            "NCCL_P2P_DISABLE": "1",
            "NCCL_NVLS_ENABLE": "0",
            "NCCL_SHM_DISABLE": "1",
            "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
            "NCCL_DEBUG": "INFO",
        }.items()
    )
    monkeypatch.setattr(_http, "NVIDIA_CONTROL", Path("/no/such/device"))
    without = engine(extra_args=("-tp", "2")).command({})
    assert "--enforce-eager" not in without.argv
    assert "NCCL_P2P_DISABLE" not in without.env


def test_ranks_that_stay_or_that_the_user_sees_to_are_started_as_ever(monkeypatch):
    monkeypatch.setattr(_http, "NVIDIA_CONTROL", Path("/dev/null"))
    for fields in ({"nccl": "as_is"}, {"eviction": {"process": "stop"}}):
        command = engine(extra_args=("-tp", "2"), **fields).command({})
        assert command.argv[-3:] == ("--enable-sleep-mode", "-tp", "2")
        assert not [name for name in command.env if name.startswith("NCCL")]


def test_another_vllm_can_be_named():
    assert engine(vllm_command=("/opt/vllm/bin/python", "-m", "vllm")).command({}).argv[:4] == (
        "/opt/vllm/bin/python",
        "-m",
        "vllm",
        "serve",
    )


def test_the_tiny_engine_runs_on_our_own_python():
    argv = engine(engine="tiny").command({}).argv
    assert argv[:6] == (sys.executable, "-P", "-m", "llmux.tiny_engine", "serve", "Qwen/Qwen3-0.6B")


def test_a_commands_words_are_filled_in():
    command = engine(
        engine="command", command=("serve", "{name}={model_path}", "--json", '{"port":{port}}')
    ).command({})
    assert command.argv == ("serve", "qwen3-0.6b=Qwen/Qwen3-0.6B", "--json", '{"port":8001}')


async def test_discarded_weights_come_back_in_vllms_order(vllm, session):
    sleeper = engine(vllm.port)
    await sleeper.sleep(session, Weights.DISCARD)
    await sleeper.wake(session, Weights.DISCARD)
    assert vllm.heard == [
        "POST /sleep?level=2",
        "POST /wake_up?tags=weights",
        'POST /collective_rpc {"method": "reload_weights"}',
        "POST /wake_up?tags=kv_cache",
        "POST /reset_prefix_cache",
    ]


async def test_offloaded_weights_come_back_at_once_and_retained_ones_stay(vllm, session):
    sleeper = engine(vllm.port)
    for weights in (Weights.OFFLOAD, Weights.RETAIN):
        await sleeper.sleep(session, weights)
        await sleeper.wake(session, weights)
    assert vllm.heard == ["POST /sleep?level=1", "POST /wake_up"]


async def test_no_connection_is_kept(vllm, session):
    sleeper = engine(vllm.port)
    assert await sleeper.healthy(session)
    await sleeper.sleep(session, Weights.DISCARD)
    assert vllm.heard == ["GET /health", "POST /sleep?level=2"]
    assert vllm.closed == [True, True]


async def test_an_error_names_url_and_status(vllm, session):
    vllm.status = 500
    with pytest.raises(EngineRefused) as refused:
        await engine(vllm.port).sleep(session, Weights.DISCARD)
    assert refused.value.what() == f"http://127.0.0.1:{vllm.port}/sleep?level=2 answers 500: out of\norder"
    assert "/var/log/llmux/qwen3-0.6b.log" in str(refused.value)
    assert not await engine(vllm.port).healthy(session)


async def test_nobody_there_and_a_broken_answer_are_told(vllm, session):
    nobody = engine(unused_port())
    assert not await nobody.healthy(session)
    with pytest.raises(EngineUnreachable, match=r"/sleep\?level=1 does not answer"):
        await nobody.sleep(session, Weights.OFFLOAD)
    vllm.status = 0
    with pytest.raises(EngineUnreachable, match=r"/sleep\?level=2 does not answer"):
        await engine(vllm.port).sleep(session, Weights.DISCARD)


async def test_a_command_without_sleep_calls_keeps_its_weights(vllm, session):
    vllm.status = 404
    plain = engine(vllm.port, engine="command", command=("serve",))
    await plain.sleep(session, Weights.DISCARD)
    await plain.wake(session, Weights.DISCARD)
    vllm.status = 500
    with pytest.raises(EngineRefused):
        await plain.wake(session, Weights.DISCARD)


async def test_a_slow_answer_is_given_up(session):
    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    app = web.Application()
    app.router.add_post("/sleep", never)
    async with TestServer(app) as server:
        hasty = engine(server.port, timeouts=Timeouts(health=5, sleep=0.5, wake=5))
        with pytest.raises(EngineUnreachable, match=r"no answer within 0\.5 s"):
            await hasty.sleep(session, Weights.DISCARD)


ADAPTERS = {"keeper": "/lora/keeper"}


@pytest.mark.parametrize("kind", ["vllm", "tiny"])
def test_an_engine_with_adapters_is_started_with_room_for_them(kind):
    command = engine(engine=kind, adapters=ADAPTERS, max_adapters=3, extra_args=("--max-loras", "8")).command(
        {}
    )
    argv = " ".join(command.argv)
    assert "--enable-lora --max-loras 3 --max-loras 8" in argv  # what is said by hand counts
    assert command.env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    plain = engine(engine=kind).command({})
    assert "--enable-lora" not in plain.argv
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in plain.env


async def test_adapters_are_forgotten_with_discarded_weights_alone(vllm, session):
    vllm.cards = '{"data": [{"id": "base"}, {"id": "keeper", "root": "/lora/keeper", "parent": "base"}]}'
    sleeper = engine(vllm.port, adapters=ADAPTERS)
    for weights in (Weights.OFFLOAD, Weights.RETAIN):
        await sleeper.wake(session, weights)
    assert vllm.heard == ["POST /wake_up"]
    await sleeper.wake(session, Weights.DISCARD)
    assert vllm.heard[-2:] == ["GET /v1/models", 'POST /v1/unload_lora_adapter {"lora_name": "keeper"}']


async def test_an_engine_that_lists_nonsense_is_told(vllm, session):
    vllm.cards = "<html>"
    with pytest.raises(EngineRefused, match=r"/v1/models answers 200: Invalid JSON"):
        await engine(vllm.port, adapters=ADAPTERS).wake(session, Weights.DISCARD)


async def test_a_command_without_adapters_of_its_own_wakes_all_the_same(vllm, session):
    vllm.status = 404
    await engine(vllm.port, engine="command", command=("serve",), adapters=ADAPTERS).wake(
        session, Weights.DISCARD
    )
    assert vllm.heard[-1] == "GET /v1/models"
