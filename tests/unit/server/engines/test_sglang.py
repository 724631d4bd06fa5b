"""SGLang's command line, and the order of its calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_ins import EMPTY_ROOM, Sglang

from llmux.server._effect_errors import EngineRefused
from llmux.server._model import Weights
from llmux.server.config import ModelConfig
from llmux.server.engines import _http, make, open_session


def engine(port=8001, **fields):
    model = {"model_path": "org/name", "port": port, "engine": "sglang", **fields}
    return make("m", ModelConfig.model_validate(model), Path("/logs/m.log"))


def test_its_line_and_its_environment(monkeypatch):
    monkeypatch.setattr(_http, "NVIDIA_CONTROL", Path("/no/such/device"))
    command = engine(extra_args=("--mem-fraction-static", "0.4")).command({})
    assert " ".join(command.argv) == (
        "python3 -m sglang.launch_server --model-path org/name --host 127.0.0.1 --port 8001 "
        "--served-model-name m --mem-fraction-static 0.4"
    )
    assert command.env.items() >= {"SGLANG_HOST_IP": "127.0.0.1", "UV_USE_IO_URING": "0"}.items()


def test_its_memory_saver_is_for_accelerators_and_another_program_can_be_named(monkeypatch):
    monkeypatch.setattr(_http, "NVIDIA_CONTROL", Path("/dev/null"))
    argv = engine(program=("sglang", "serve")).command({}).argv
    assert argv[:3] == ("sglang", "serve", "--model-path")
    assert "--enable-memory-saver" in argv


async def test_it_is_released_when_it_is_idle_and_weights_that_are_gone_are_read_before_the_cache_comes_back(
    serve,
):
    server = Sglang(busy_for=2)
    sleeper = engine((await serve(server.app())).port)
    async with open_session() as session:
        await sleeper.sleep(session, Weights.DISCARD)
        await sleeper.wake(session, Weights.DISCARD)
    assert server.heard == [
        *(["POST /flush_cache"] * 3),
        'POST /release_memory_occupation {"tags": ["kv_cache", "weights"]}',
        'POST /resume_memory_occupation {"tags": ["weights"]}',
        'POST /update_weights_from_disk {"model_path": "org/name"}',
        'POST /resume_memory_occupation {"tags": ["kv_cache"]}',
    ]


async def test_one_that_never_gets_idle_does_not_sleep(serve):
    server = Sglang(busy_for=10_000)
    sleeper = engine((await serve(server.app())).port, timeouts={"sleep": 0.3})
    async with open_session() as session:
        with pytest.raises(
            EngineRefused, match=r"/flush_cache answers 400: it has requests still after 0\.3 s"
        ):
            await sleeper.sleep(session, Weights.DISCARD)
    assert server.serves


async def test_weights_that_cannot_be_read_are_told(serve):
    server = Sglang()
    sleeper = engine((await serve(server.app())).port, model_path="org/other")
    async with open_session() as session:
        await sleeper.sleep(session, Weights.DISCARD)
        with pytest.raises(EngineRefused, match="no such model"):
            await sleeper.wake(session, Weights.DISCARD)
    assert server.weights == EMPTY_ROOM
