"""Engines for real, in real sandboxes: the tiny one as a command with calls of its own, and a remote llmux behind llmux."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer, unused_port

from llmux.server import _app, _capacity, _node, config
from llmux.server._setup import make_driver
from llmux.server._work import make_hands

pytestmark = pytest.mark.root

CHAT = "/v1/chat/completions"


@asynccontextmanager
async def llmux(directory: Path, **models):
    """Give a session with an llmux that has these models."""
    document = {
        "models": models,
        "checkpoint": {"images_dir": str(directory / "images")},
        **{name: str(directory / name) for name in ("log_dir", "state_dir")},
        "host": "127.0.0.1",
        "port": unused_port(),
    }
    settings = config.parse(json.dumps(document))
    node = _node.look(settings.checkpoint.images_dir)
    driver = make_driver(settings, await make_hands(settings, _capacity.placement(settings, node)), node)
    async with (
        TestServer(_app.build(driver)) as server,
        aiohttp.ClientSession(server.make_url("/")) as session,
    ):
        yield session


async def call(session, method, path, body=None):
    async with session.request(method, path, json=body) as response:
        return response.status, await response.json()


async def answer(session, name):
    question = {
        "model": name,
        "temperature": 0,
        "max_tokens": 12,
        "messages": [{"role": "user", "content": "The lamp?"}],
    }
    status, body = await call(session, "POST", CHAT, question)
    assert status == 200, body
    return body["choices"][0]["message"]["content"]


async def state(session, name):
    _, body = await call(session, "GET", "/control/status")
    return body["models"][name]


async def test_a_command_sleeps_and_wakes_by_the_calls_that_are_configured(tmp_path, trained):
    calls = {
        "health": "/v1/models",
        "sleep": {"path": "/sleep?level=2"},
        "wake": [
            {"path": "/wake_up?tags=weights"},
            {"path": "/collective_rpc", "body": {"method": "reload_weights"}},
            {"path": "/wake_up?tags=kv_cache"},
        ],
    }
    model = {
        "model_path": str(trained),
        "port": unused_port(),
        "engine": "command",
        "command": [
            sys.executable,
            "-m",
            "llmux.tiny_engine",
            "serve",
            "{model_path}",
            "--port",
            "{port}",
            "--served-model-name",
            "{name}",
        ],
        "calls": calls,
        "eviction": {"weights": "discard", "process": "keep_running"},
    }
    async with llmux(tmp_path, keeper=model) as session:
        before = await answer(session, "keeper")
        status, asleep = await call(session, "POST", "/control/sleep", {"model": "keeper"})
        assert (status, asleep["state"]) == (200, "asleep"), asleep
        assert await answer(session, "keeper") == before
        assert (await state(session, "keeper"))["last_wake"]["kind"] == "warm"


async def test_a_remote_llmux_answers_through_the_same_door(tmp_path, trained):
    tiny = {
        "model_path": str(trained),
        "port": unused_port(),
        "engine": "tiny",
        "eviction": {"process": "stop"},
    }
    async with llmux(tmp_path / "there", keeper=tiny) as there:
        remote = {"model_path": "keeper", "engine": "remote", "remote": {"url": str(there._base_url)}}
        async with llmux(tmp_path / "here", keeper=remote) as here:
            async with asyncio.timeout(30):
                while (await state(here, "keeper"))["state"] != "running":  # noqa: ASYNC110 - it is awake by itself
                    await asyncio.sleep(0.01)
            assert (await state(there, "keeper"))["state"] == "not_started"
            assert await answer(here, "keeper") == await answer(there, "keeper")
            status, body = await call(here, "POST", "/control/sleep", {"model": "keeper"})
            assert status == 400, body
            assert "runs elsewhere" in body["error"]["message"]
            assert (await state(here, "keeper"))["engine"]["url"] == remote["remote"]["url"].rstrip("/")
            _, node = await call(here, "GET", "/control/status")
            assert not any(node["node"]["held"].values())
        assert await answer(there, "keeper")


async def test_a_remote_that_is_down_is_an_honest_error_until_it_is_back(tmp_path, trained):
    port = unused_port()
    remote = {"model_path": "keeper", "engine": "remote", "remote": {"url": f"http://127.0.0.1:{port}/v1"}}
    async with llmux(tmp_path, keeper=remote) as session:
        for _ in range(8):
            status, body = await call(session, "POST", CHAT, {"model": "keeper", "messages": []})
            assert (status, body["error"]["code"]) == (502, "engine_gone")
        assert (await state(session, "keeper"))["state"] == "running"
