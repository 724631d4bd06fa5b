"""llmux before real tiny engines in real sandboxes, as root; sleeps to disk are the containers' tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess  # noqa: TID251 - llmux as a process of its own, to be killed
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from ports import free_port

from llmux.server import _app, _capacity, _node, config
from llmux.server._setup import make_driver
from llmux.server._socket_names import names_of
from llmux.server._work import make_hands

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("own_temporary")]

NAME = "lighthouse"
QUESTION = {
    "model": NAME,
    "temperature": 0,
    "max_tokens": 24,
    "messages": [{"role": "user", "content": "The lamp?"}],
}
CHAT = "/v1/chat/completions"


def configuration(tmp_path, trained, **model):
    fields = {
        "model_path": str(trained),
        "port": free_port(),
        "engine": "tiny",
        "eviction": {"process": "stop"},
    }
    return {
        "models": {NAME: fields | model},
        "checkpoint": {"images_dir": str(tmp_path / "images")},
        "log_dir": str(tmp_path / "log"),
        "state_dir": str(tmp_path / "state"),
        "host": "127.0.0.1",
        "port": free_port(),
    }


@asynccontextmanager
async def serving(document):
    settings = config.parse(json.dumps(document))
    node = _node.look(settings.checkpoint.images_dir)
    driver = make_driver(settings, await make_hands(settings, _capacity.placement(settings, node)), node)
    async with (
        TestServer(_app.build(driver)) as server,
        aiohttp.ClientSession(server.make_url("/")) as session,
    ):
        yield Caller(session, settings.models[NAME].port)


class Caller:
    """A user of llmux, who may also look at the engine itself."""

    def __init__(self, session, engine_port):
        self.session = session
        self.engine = f"http://127.0.0.1:{engine_port}"

    async def call(self, method, path, body=None):
        async with self.session.request(method, path, json=body) as response:
            return response.status, await response.json()

    async def answer(self):
        status, body = await self.call("POST", CHAT, QUESTION)
        assert status == 200, body
        return body["choices"][0]["message"]["content"]

    async def instance(self):
        _, body = await self.call("GET", f"{self.engine}/instance")
        return body

    async def status(self):
        _, body = await self.call("GET", "/control/status")
        return body["models"][NAME]

    async def sleep(self, weights, process):
        eviction = {"weights": weights, "process": process}
        return await self.call("POST", "/control/sleep", {"model": NAME, "eviction": eviction})


def tree_below(pid: int) -> set[int]:
    """Return the ids of all processes below `pid`, by /proc/PID/task/PID/children."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    direct = {int(each) for each in children.read_text().split()} if children.exists() else set()
    return direct.union(*(tree_below(child) for child in direct))


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - another process's state has no event here
            await asyncio.sleep(0.02)


async def test_a_chat_starts_the_engine_and_a_stream_comes_in_pieces(tmp_path, trained):
    unhurried = ["--token-delay", "0.02"]
    async with serving(configuration(tmp_path, trained, extra_args=unhurried)) as caller:
        whole = await caller.answer()
        async with caller.session.post(CHAT, json=QUESTION | {"stream": True}) as response:
            chunks = [chunk async for chunk in response.content.iter_any()]
        events = [line[6:] for line in b"".join(chunks).split(b"\n") if line.startswith(b"data: ")]
        assert events[-1] == b"[DONE]"
        deltas = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1]]
        assert "".join(deltas) == whole
        assert len(chunks) > 1


@pytest.mark.parametrize("weights", ["retain", "offload", "discard"])
async def test_a_kept_process_sleeps_and_is_the_same_one_afterwards(tmp_path, trained, weights):
    async with serving(configuration(tmp_path, trained)) as caller:
        before, instance = await caller.answer(), await caller.instance()
        status, slept = await caller.sleep(weights, "keep_running")
        assert (status, slept["state"]) == (200, "asleep")
        _, sleeping = await caller.call("GET", f"{caller.engine}/is_sleeping")
        assert sleeping["is_sleeping"] == (weights != "retain")
        assert await caller.answer() == before
        assert (await caller.instance())["instance_id"] == instance["instance_id"]
        assert (await caller.status())["last_wake"]["kind"] == "warm"


async def test_a_stopped_engine_is_gone_and_starts_anew(tmp_path, trained):
    async with serving(configuration(tmp_path, trained)) as caller:
        before, instance = await caller.answer(), await caller.instance()
        processes = tree_below(os.getpid())
        assert len(processes) >= 4  # the sandbox's two, the API process, the worker
        assert (await caller.sleep("discard", "stop"))[0] == 200
        assert not any(alive(pid) for pid in processes)
        assert await caller.answer() == before
        assert (await caller.instance())["instance_id"] != instance["instance_id"]
        assert (await caller.status())["last_wake"]["reason"] == "its process had been stopped"


async def test_an_engine_that_is_killed_is_noticed_and_started_again(tmp_path, trained):
    async with serving(configuration(tmp_path, trained)) as caller:
        before = await caller.answer()
        init = (await caller.status())["engine"]["init_pid"]
        names = names_of(init)
        assert names
        for pid in (*tree_below(init), init):
            with suppress(ProcessLookupError):  # one may have ended the others
                os.kill(pid, signal.SIGKILL)

        async def failed():
            return (await caller.status())["state"] == "failed"

        await until(failed)
        assert "killed by signal 9" in (await caller.status())["problem"]["message"]

        async def removed():
            return not any(name.path.exists() for name in names)

        await until(removed)
        assert await caller.answer() == before


async def test_an_engine_that_cannot_start_says_its_last_words(tmp_path, trained):
    async with serving(configuration(tmp_path, trained, model_path="/nowhere")) as caller:
        status, body = await caller.call("POST", CHAT, QUESTION)
        assert status == 503
        assert body["error"]["code"] == "engine_ended"
        assert "/nowhere" in body["error"]["message"]


async def test_an_engine_that_never_gets_healthy_is_given_up(tmp_path, trained):
    program = "import time; print('zzz', flush=True); time.sleep(60)"
    sleepy = {"engine": "command", "command": [sys.executable, "-c", program], "timeouts": {"start": 1}}
    document = configuration(tmp_path, trained, **sleepy)
    async with serving(document) as caller:
        status, body = await caller.call("POST", CHAT, QUESTION)
        assert status == 503
        assert body["error"]["code"] == "engine_not_healthy"
        assert "zzz" in body["error"]["message"]
        assert tree_below(os.getpid()) == set()


async def test_an_engine_port_that_is_taken_is_named(tmp_path, trained):
    document = configuration(tmp_path, trained)
    port = document["models"][NAME]["port"]
    async with serving(document) as caller:
        with socket.create_server(("127.0.0.1", port)):
            status, body = await caller.call("POST", CHAT, QUESTION)
        assert (status, body["error"]["code"]) == (503, "port_taken")
        assert str(port) in body["error"]["message"]
        assert await caller.answer()


async def test_two_engines_take_turns_where_one_may_be_awake(tmp_path, trained):
    document = configuration(tmp_path, trained, eviction={"weights": "discard", "process": "keep_running"})
    document["models"]["other"] = document["models"][NAME] | {"port": free_port()}
    document["max_awake"] = 1
    async with serving(document) as caller:
        before = await caller.answer()
        status, _ = await caller.call("POST", CHAT, QUESTION | {"model": "other"})
        assert status == 200
        assert (await caller.status())["state"] == "asleep"
        assert await caller.answer() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_engine_outlives_llmux(tmp_path, trained, number):
    document = configuration(tmp_path, trained) | {"engines_linger": 0}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    argv = [sys.executable, "-m", "llmux.server", "serve", "--config", str(path)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as llmux:
        try:
            assert any("serving" in line for line in llmux.stderr)
            ask = ["curl", "-sf", f"http://127.0.0.1:{document['port']}{CHAT}", "-d", json.dumps(QUESTION)]
            subprocess.run(ask, check=True, capture_output=True, timeout=60)
            engines = tree_below(llmux.pid)
            assert len(engines) >= 4
            llmux.send_signal(number)
            assert llmux.wait(8) == (0 if number == signal.SIGTERM else -9)
        finally:
            llmux.kill()
    limit = time.monotonic() + 5
    while any(alive(pid) for pid in engines):
        assert time.monotonic() < limit
        time.sleep(0.02)
