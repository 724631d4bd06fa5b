"""The engines' own figures: of those that are awake, under their model and replica, whatever an engine says or does not say."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from llmux.server.metrics import _engines

SAYS = """# HELP vllm:running How many
# TYPE vllm:running gauge
vllm:running{model_name="m"} 2
# TYPE vllm:tokens_total counter
vllm:tokens_total{model="theirs"} 7
"""


class Engine:
    """It says `text`, after `go_on`."""

    def __init__(self, serve, text=SAYS, status=200):
        self.text, self.status, self.asked = text, status, 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._serve = serve

    async def url(self):
        app = web.Application()
        app.router.add_get("/metrics", self.show)
        return await self._serve(app)

    async def show(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await self.go_on.wait()
        return web.Response(text=self.text, status=self.status)


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch):
    monkeypatch.setattr(_engines, "FRESH", 0.0)


async def test_engines_that_are_awake_are_joined_under_their_labels(watch, make_hands, serve):
    one, other, asleep = (Engine(serve) for _ in range(3))
    hands = [make_hands(await each.url()) for each in (one, other, asleep)]
    it = await watch({"m": hands[:2], "n": hands[2]})
    for model in ("m", "n"):
        await it.driver.wake(model)
    await it.driver.sleep("n")
    now = await it.figures()
    assert now.of("vllm:running", model="m", replica="m", model_name="m") == 2
    assert now.of("vllm:tokens_total", model="m", replica="m", exported_model="theirs") == 7
    assert now.of("llmux_engine_metrics_up", model="m", replica="m") == 1
    assert not now.having("vllm:running", model="n")
    assert not now.having("llmux_engine_metrics_up", model="n")
    assert now.text.count("# TYPE vllm:tokens_total counter\n") == 1
    assert asleep.asked == 0


async def test_an_engine_that_hangs_holds_nobody_up_and_shows_as_down(watch, make_hands, serve, monkeypatch):
    monkeypatch.setattr(_engines, "LIMIT", 0.1)
    hung, well = Engine(serve), Engine(serve)
    it = await watch({"hung": make_hands(await hung.url()), "well": make_hands(await well.url())})
    await asyncio.gather(it.driver.wake("hung"), it.driver.wake("well"))
    hung.go_on.clear()
    now = await it.figures()  # which comes to no end of its own
    assert now.of("llmux_engine_metrics_up", model="hung") == 0
    assert now.having("llmux_engine_metrics_up", model="hung")
    assert now.of("llmux_engine_metrics_up", model="well") == 1
    assert now.of("vllm:running", model="well") == 2


@pytest.mark.parametrize(
    ("text", "status"),
    [("no exposition {", 200), ("x" * (_engines.LARGEST + 1), 200), (SAYS, 500)],
    ids=["not text", "too much", "an error"],
)
async def test_an_engine_that_says_nothing_of_use_shows_as_down(watch, make_hands, serve, text, status):
    it = await watch({"m": make_hands(await Engine(serve, text, status).url())})
    await it.driver.wake("m")
    now = await it.figures()
    assert [each.value for each in now.having("llmux_engine_metrics_up")] == [0]
    assert not now.having("vllm:running")


async def test_an_engine_without_metrics_is_none_that_is_down(watch, make_hands, serve):
    it = await watch({"m": make_hands(await serve(web.Application()))})
    await it.driver.wake("m")
    assert not (await it.figures()).having("llmux_engine_metrics_up")


async def test_many_who_look_at_once_ask_each_engine_once(watch, make_hands, serve, monkeypatch):
    monkeypatch.setattr(_engines, "FRESH", 60.0)
    engine = Engine(serve)
    it = await watch({"m": make_hands(await engine.url())})
    await it.driver.wake("m")
    for now in await asyncio.gather(*(it.figures() for _ in range(5))):
        assert now.of("vllm:running") == 2
    assert engine.asked == 1
