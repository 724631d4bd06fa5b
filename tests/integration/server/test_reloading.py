"""Another configuration for llmux before real tiny engines: those that it does not name keep their processes."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from llmux.server import _app, _capacity, _node
from llmux.server._reload import ConfigFile, Reloader
from llmux.server._setup import make_driver
from llmux.server._work import make_hands
from proof.dialing import free_ports
from tests.integration.server.test_adoption import NAME, alive, running, until

pytestmark = pytest.mark.root

CHAT = "/v1/chat/completions"
SLOW = ["--token-delay", "0.02"]


def exists(pid):
    return Path(f"/proc/{pid}").exists()


class Llmux:
    """llmux with a configuration file, and who asks it."""

    def __init__(self, directory, trained):
        self.file = ConfigFile(directory / "config.json")
        self.directory, self.trained = directory, trained

    def write(self, **models):
        common = {"model_path": str(self.trained), "engine": "tiny", "eviction": {"process": "stop"}}
        document = {
            "models": {name: common | fields for name, fields in models.items()},
            "checkpoint": {"images_dir": str(self.directory / "images")},
            "log_dir": str(self.directory / "log"),
            "state_dir": str(self.directory / "state"),
        }
        self.file.path.write_text(json.dumps(document))

    async def call(self, method, path, body=None):
        async with self.session.request(method, path, json=body) as response:
            return response.status, await response.json()

    async def ask(self, model, tokens=4):
        question = {"role": "user", "content": "The lamp?"}
        body = {"model": model, "max_tokens": tokens, "ignore_eos": True, "messages": [question]}
        return await self.call("POST", CHAT, body)

    async def reload(self, **models):
        self.write(**models)
        return await self.call("POST", "/control/reload")

    async def status(self):
        return (await self.call("GET", "/control/status"))[1]

    async def engine(self, model):
        return (await self.status())["models"][model]["engine"]


@asynccontextmanager
async def serving(directory, trained, **models):
    llmux = Llmux(directory, trained)
    llmux.write(**models)
    settings = await asyncio.to_thread(llmux.file.load)
    node = await asyncio.to_thread(_node.look, settings.checkpoint.images_dir)
    driver = make_driver(settings, await make_hands(settings, _capacity.placement(settings, node)), node)
    reloader = Reloader(driver, llmux.file, settings, node, partial(make_hands, starting=False))
    async with (
        TestServer(_app.build(driver, reloader)) as server,
        aiohttp.ClientSession(server.make_url("/")) as llmux.session,
    ):
        yield llmux


async def test_only_what_is_configured_otherwise_is_touched(tmp_path, trained):
    one, two, three, four = free_ports(4)
    stays, goes, changes = {"port": one}, {"port": two}, {"port": three, "extra_args": SLOW}
    async with serving(tmp_path, trained, stays=stays, goes=goes, changes=changes) as llmux:
        for name in ("stays", "goes", "changes"):
            assert (await llmux.ask(name))[0] == 200
        before = {name: await llmux.engine(name) for name in ("stays", "goes", "changes")}

        async with asyncio.TaskGroup() as group:
            long = group.create_task(llmux.ask("changes", tokens=60))
            await asyncio.sleep(0.2)
            code, told = await llmux.reload(
                stays=stays | {"weight": 2}, changes={"port": three}, new={"port": four}
            )
            assert code == 200
            assert (told["added"], told["removed"]) == (["new"], ["goes"])
            assert told["changed"] == {"stays": ["weight"], "changes": ["extra_args"]}
            assert told["engines_anew"] == ["changes", "goes"]
            assert not long.done()
            held = group.create_task(llmux.ask("changes"))
            code, refused = await llmux.ask("goes")
            assert (code, refused["error"]["code"]) == (404, "model_not_found")
            assert (await llmux.ask("new"))[0] == 200
        assert long.result()[0] == held.result()[0] == 200
        assert long.result()[1]["usage"]["completion_tokens"] == 60

        assert await llmux.engine("stays") == before["stays"]
        assert (await llmux.engine("changes"))["init_pid"] != before["changes"]["init_pid"]
        assert not any(exists(before[name]["init_pid"]) for name in ("goes", "changes"))
        status = await llmux.status()
        assert set(status["models"]) == {"stays", "changes", "new"}
        assert status["reload"] == told


async def test_a_wrong_file_is_answered_with_all_that_is_wrong(tmp_path, trained):
    one, two = free_ports(2)
    async with serving(tmp_path, trained, m={"port": one}) as llmux:
        assert (await llmux.ask("m"))[0] == 200
        before = await llmux.engine("m")
        code, told = await llmux.reload(m={"port": one, "prot": 1}, n={"port": one, "weight": -1})
        assert code == 400
        for fault in ("models.m.prot", "models.n.weight"):
            assert fault in told["error"]["message"]
        assert (await llmux.status())["reload"]["problem"]["message"] in told["error"]["message"]
        assert await llmux.engine("m") == before
        assert (await llmux.reload(m={"port": two}))[0] == 200
        assert (await llmux.ask("m"))[0] == 200
        assert (await llmux.engine("m"))["url"] == f"http://127.0.0.1:{two}"


@pytest.mark.parametrize("way", ["hangup", "watch"])
def test_a_process_told_of_another_file_serves_what_that_names_and_no_engine_more(tmp_path, trained, way):
    (port,) = free_ports(1)
    with running(tmp_path, trained, watch=way == "watch") as llmux:
        before = llmux.chat()
        goes = llmux.status()["engine"]["init_pid"]
        models = llmux.document["models"]
        kept = models[NAME]

        def reload(words, **wanted):
            llmux.document["models"] = wanted
            told = len(llmux.log.read_text())
            new = llmux.path.with_name("new.json")
            new.write_text(json.dumps(llmux.document))
            new.rename(llmux.path)
            if way == "hangup":
                llmux.process.send_signal(signal.SIGHUP)
            until(lambda: words in llmux.log.read_text()[told:])

        reload("models.two.port", **{NAME: kept | {"prot": 1}, "two": kept | {"port": "x"}})
        assert llmux.chat() == before
        assert llmux.status()["engine"]["init_pid"] == goes
        reload("the configuration was read anew", added=kept | {"port": port})
        until(lambda: not alive(goes))
        question = {"model": "added", "max_tokens": 4, "messages": [{"role": "user", "content": "The lamp?"}]}
        assert llmux.ask(CHAT, question)["model"] == "added"
        assert [card["id"] for card in llmux.ask("/v1/models")["data"]] == ["added"]
