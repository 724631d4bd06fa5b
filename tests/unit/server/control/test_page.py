"""docs/control.md: each of its examples does what it says, and each call has one."""

from __future__ import annotations

import asyncio
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmux.server._hands import Stored
from llmux.server._model import Eviction, Process, Weights
from llmux.server.control import calls

PAGE = Path(__file__).parents[4] / "docs" / "control.md"
FIXTURE = Path(__file__).parents[3] / "fixtures" / "images" / "tiny_engine"
DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)


@dataclass(frozen=True)
class Example:
    """One command line."""

    method: str
    url: str
    body: str | None
    headers: dict[str, str]
    endless: bool


def examples():
    text = PAGE.read_text()
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("curl")
    ]
    return [parsed(line.replace("alpha", "m").replace("beta", "n")) for line in lines]


def parsed(line):
    words = shlex.split(line)[1:]
    given, headers = {"-X": "GET"}, {}
    rest = []
    while words:
        word = words.pop(0)
        if word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word in {"-X", "-d"}:
            given[word] = words.pop(0)
        elif word != "-N":
            rest.append(word)
    (url,) = rest
    return Example(given["-X"], url.removeprefix("$LLMUX"), given.get("-d"), headers, "-N" in line)


def matches(call, example):
    pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(call.path))
    return call.method == example.method and re.fullmatch(pattern, example.url.partition("?")[0])


def test_each_call_has_an_example_and_each_example_a_call():
    known, shown = calls(reloadable=True), examples()
    assert [call.path for call in known if not any(matches(call, each) for each in shown)] == []
    assert [each.url for each in shown if not any(matches(call, each) for call in known)] == []


@pytest.mark.usefixtures("pycriu_for_the_library")
async def test_the_examples_do_what_they_say(configured, tmp_path):
    await asyncio.to_thread((tmp_path / "m.log").write_text, "a line\n")
    replica = configured.driver.models["m"].replicas[0]
    operation = ""
    for example in await asyncio.to_thread(examples):
        url = example.url.replace("OPERATION", operation)
        if "/checkpoints/m" in url and "DELETE" not in example.method:
            replica.stored = Stored(FIXTURE, 7, 1000.0, 1, DISK, 0.5)
        client = None
        if "REQUEST" in url:
            client = asyncio.ensure_future(  # noqa: TID251 - a test's clients are tasks of its own
                configured.call("POST", "/v1/completions", {"model": "m"})
            )
            await configured.engine.begun.wait()
            (listed,) = (await configured.call("GET", "/control/requests")).json["requests"]
            url = url.replace("REQUEST", listed["id"])
        async with configured.session.request(
            example.method, url, data=example.body, headers=example.headers
        ) as response:
            content = b"" if example.endless else await response.read()
            assert response.status < 400, (example, content)
            if response.status == 202:
                operation = (await response.json())["id"]
            if example.endless:
                assert await response.content.readline()
        if client:
            assert (await client).status == 503
