"""Traces of a real llmux before real tiny engines that take turns, as a collector gets them; and what an engine sees of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess  # noqa: TID251 - llmux as its users start it
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from llmux.tiny_engine._train import CORPUS, train
from otlp import collecting

pytestmark = pytest.mark.root

QUESTION = {"temperature": 0, "max_tokens": 5, "messages": [{"role": "user", "content": "planted-2f7a"}]}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    train(directory, [CORPUS.read_text()[:3000]], 0, epochs=1)
    return directory


@pytest.fixture
async def elsewhere():
    """Give a server elsewhere that keeps the contexts it was asked in."""
    contexts = []

    async def answer(request):
        contexts.append(request.headers.getall("traceparent", []))
        return web.json_response({"model": "far", "choices": []})

    async def models(_request):
        return web.json_response({"data": [{"id": "far"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/v1/models", models)
    async with TestServer(app) as server:
        yield str(server.make_url("/v1")), contexts


@asynccontextmanager
async def serving(place, models, url, **variables):
    """Give a session with an llmux of these models, of which one at a time is awake; at the end it is told to stop."""
    port = unused_port()
    config = {
        "models": models,
        "resources": {"host_memory": "4GiB"},
        "max_awake": 1,
        "tracing": {"enabled": True},
        "checkpoint": {"images_dir": str(place / "images")},
        **{name: str(place / name) for name in ("log_dir", "state_dir")},
        "host": "127.0.0.1",
        "port": port,
        "engines_at_exit": "stop",
        "policy": {"min_active_secs": 0, "min_quantum_ms": 0},
    }
    path = place / "config.json"
    path.write_text(json.dumps(config))
    env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **variables}
    command = [sys.executable, "-m", "llmux.server", "serve", "--config", str(path)]
    with (place / "log").open("w") as log, subprocess.Popen(command, stderr=log, env=env) as process:  # noqa: ASYNC220 - it only begins there
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                async with asyncio.timeout(60):
                    while not await answers(session):
                        assert process.poll() is None, (place / "log").read_text()
                        await asyncio.sleep(0.05)
                yield session
        finally:
            process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(process.wait, 60)
    assert code == 0, (place / "log").read_text()


async def answers(session) -> bool:
    try:
        async with session.get("/health") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def ask(session, model, **headers):
    async with session.post(
        "/v1/chat/completions", json={"model": model, **QUESTION}, headers=headers
    ) as response:
        assert response.status == 200, await response.text()
        await response.read()
        return response.headers["X-Request-ID"]


async def test_one_trace_tells_why_a_request_was_slow(tmp_path, trained, elsewhere):
    url, contexts = elsewhere
    tiny = {
        "model_path": str(trained),
        "engine": "tiny",
        "eviction": {"weights": "offload", "process": "keep_running"},
        "resources": {"host_memory": "1GiB"},
    }
    models = {"alpha": {**tiny, "port": unused_port()}, "beta": {**tiny, "port": unused_port()}}
    models["far"] = {"model_path": "far", "engine": "remote", "remote": {"url": url}}
    async with collecting() as collector:
        # Nothing is sent before the end.
        serving_them = serving(tmp_path, models, collector.url, OTEL_BSP_SCHEDULE_DELAY="600000")
        async with serving_them as session:
            for model in ("alpha", "beta"):
                await ask(session, model)
            name = await ask(session, "alpha")
            await ask(session, "far", traceparent=f"00-{TRACE}-{PARENT}-01")
        roots = {root.facts["llmux.request_id"]: root for root in collector.named("POST chat/completions")}
        assert len(roots) == 4
        wait, proxy = collector.children(roots[name])
        sleep, wake = collector.children(wait)
        assert (proxy.name, proxy.events) == ("proxy", ("first_byte",))
        assert (sleep.name, sleep.facts["gen_ai.request.model"]) == ("sleep", "beta")
        assert "sleep.engine_sleep" in [each.name for each in collector.children(sleep)]
        assert (wake.name, wake.facts["gen_ai.request.model"], wake.facts["llmux.wake"]) == (
            "wake",
            "alpha",
            "warm",
        )
        assert [each.name for each in collector.children(wake)] == ["wake.wake"]
        assert wait.began <= sleep.ended <= wake.began <= wake.ended <= wait.ended <= proxy.began
        assert roots[name].facts["gen_ai.usage.output_tokens"] == 5
        (far,) = [root for root in roots.values() if root.trace == TRACE]
        (_, proxy) = collector.children(far)
        assert far.parent == PARENT
        assert contexts == [[f"00-{TRACE}-{proxy.id}-01"]]
        assert b"planted-2f7a" not in collector.raw
        assert {each.of["service.name"] for each in collector.spans} == {"llmux"}


async def test_a_collector_that_is_not_there_costs_a_line_in_the_log_and_no_request(tmp_path, elsewhere):
    url, _ = elsewhere
    models = {"far": {"model_path": "far", "engine": "remote", "remote": {"url": url}}}
    quick = {"OTEL_BSP_SCHEDULE_DELAY": "20", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    log = tmp_path / "log"
    async with serving(tmp_path, models, f"http://127.0.0.1:{unused_port()}", **quick) as session:
        for _ in range(3):
            await ask(session, "far")
            async with asyncio.timeout(30):
                while "traces do not reach the collector" not in log.read_text():  # noqa: ASYNC110 - a log has no event
                    await asyncio.sleep(0.05)
    assert log.read_text().count("traces do not reach the collector") == 1
    assert "Traceback" not in log.read_text()
