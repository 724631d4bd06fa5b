"""llmux's figures as a Prometheus reads them."""

from __future__ import annotations

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmux.server import _app, _web


class Figures:
    """One scrape: `of(name, **labels)` is the sum of the series that have these labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def having(self, name: str, **labels: str):
        return [each for each in self.samples if each.name == name and labels.items() <= each.labels.items()]

    def of(self, name: str, **labels: str) -> float:
        return sum(each.value for each in self.having(name, **labels))


class Watched:
    """An llmux with the figures that it shows."""

    def __init__(self, app, session) -> None:
        self.driver = app[_web.DRIVER]
        self.session = session

    async def figures(self) -> Figures:
        async with self.session.get("/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            return Figures(await response.text())

    async def ask(self, model: str = "m", path: str = "/v1/completions") -> int:
        async with self.session.post(path, json={"model": model}) as response:
            await response.read()
            return response.status


@pytest.fixture
async def watch(serve, make_driver):
    """Give a function that serves models with these hands."""
    sessions = []

    async def begun(models, **rules) -> Watched:
        app = _app.build(make_driver(models, **rules))
        sessions.append(aiohttp.ClientSession(await serve(app)))
        return Watched(app, sessions[-1])

    yield begun
    for session in sessions:
        await session.close()


@pytest.fixture
def figures_of():
    return Figures
