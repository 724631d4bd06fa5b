"""Hooks before a real web server and real programs: what they are told, how often it is tried, and that nobody waits for them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from contextlib import asynccontextmanager
from typing import get_args

import pytest
from aiohttp import web

from llmux.server import _hooks
from llmux.server._bus import Bus
from llmux.server._happenings import Happening, RequestQueued, StateChanged, WakeDone, kind_of
from llmux.server._hooks import Hooks, signed
from llmux.server._model import WakeKind
from llmux.server.config import HookConfig
from llmux.server.config._hooks import EventKind
from llmux.server.errors import NodeUnfit

WOKEN = WakeDone(model="m", replica="m", wake=WakeKind.RESTORED, seconds=2.5, phases={"criu": 1.0})
QUEUED = RequestQueued(request="1", model="m", path="/v1/completions")


def moved(model="m"):
    return StateChanged(
        model=model, replica=model, before="asleep", after="waking", cause="WakeAsked", seconds=9
    )


class Listener:
    """Keeps what it is told, and answers with the statuses that it is given, then with 204."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def take(self, request: web.Request) -> web.Response:
        self.told.append((dict(request.headers), await request.read()))
        await self.gate.wait()
        status = self.statuses.pop(0) if self.statuses else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    @property
    def events(self) -> list[str]:
        return [json.loads(body)["event"] for _, body in self.told]


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch):
    monkeypatch.setattr(_hooks, "FIRST_PAUSE", 0.01)


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
async def url(serve, listener):
    app = web.Application()
    app.router.add_post("/hook", listener.take)
    return str((await serve(app)) / "hook")


@asynccontextmanager
async def told_of(bus, *configs):
    """Have hooks told of what happens on the bus; at the end all of it has been."""
    hooks = await Hooks.of(configs)
    async with asyncio.TaskGroup() as group:
        tasks = []
        hooks.start(bus, lambda work: tasks.append(group.create_task(work)))
        await asyncio.sleep(0)
        yield hooks
        await hooks.settle(10)
        for task in tasks:
            task.cancel()


async def test_an_address_is_told_of_what_happens_in_order(url, listener):
    bus = Bus()
    bus.publish(moved())  # before anybody listens
    async with told_of(bus, HookConfig(url=url)):
        bus.publish(WOKEN)
        bus.publish(QUEUED)  # one request is no event for everybody
    (first, _), (headers, body) = listener.told
    assert first["X-Llmux-Event"] == "state_changed"
    assert headers["Content-Type"] == "application/json"
    assert first["X-Llmux-Delivery"] != headers["X-Llmux-Delivery"]
    assert "X-Llmux-Signature" not in headers
    event = json.loads(body)
    assert event["at"].endswith("+00:00")
    assert (event["id"], event["event"]) == (2, "wake_done")
    assert event["data"] == {
        "model": "m", "replica": "m", "wake": "restored", "seconds": 2.5, "reason": "", "phases": {"criu": 1.0},
        "phases_begun": {},
    }  # fmt: skip


async def test_it_is_told_only_of_what_it_wants(url, listener):
    bus = Bus()
    async with told_of(bus, HookConfig(url=url, events=("state_changed", "request_queued"), models=("m",))):
        for happening in (WOKEN, QUEUED, moved("other"), moved()):
            bus.publish(happening)
    assert listener.events == ["request_queued", "state_changed"]


async def test_what_is_sent_is_signed_with_the_secret(url, listener, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    bus = Bus()
    async with told_of(bus, HookConfig(url=url, secret_file=secret)):
        bus.publish(WOKEN)
    ((headers, body),) = listener.told
    wanted = hmac.new(
        b"s3cret", headers["X-Llmux-Timestamp"].encode() + b"." + body, hashlib.sha256
    ).hexdigest()
    assert headers["X-Llmux-Signature"] == f"sha256={wanted}"
    assert signed(body, b"s3cret", 1) != signed(body, b"s3cret", 2)


async def test_what_fails_for_now_is_tried_again_as_the_same_delivery(url, listener):
    listener.statuses = [503, 429]
    bus = Bus()
    async with told_of(bus, HookConfig(url=url)):
        bus.publish(WOKEN)
    assert len(listener.told) == 3
    assert len({headers["X-Llmux-Delivery"] for headers, _ in listener.told}) == 1


@pytest.mark.parametrize(("statuses", "tries"), [([500] * 9, 3), ([404], 1), ([302], 1)])
async def test_in_the_end_it_is_given_up_and_the_next_is_told(url, listener, caplog, statuses, tries):
    listener.statuses = statuses[:tries]
    bus = Bus()
    async with told_of(bus, HookConfig(url=f"{url}?token=planted-secret", attempts=3)):
        bus.publish(WOKEN)
        bus.publish(moved())
    assert listener.events == ["wake_done"] * tries + ["state_changed"]
    assert "hooks.0: it was not told of wake_done 1" in caplog.text
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("llmux")]
    assert not any("planted-secret" in each for each in ours)


async def test_an_address_where_nobody_is_costs_nobody_anything(caplog):
    bus = Bus()
    async with told_of(bus, HookConfig(url="http://127.0.0.1:9/planted-secret", attempts=2)):
        bus.publish(WOKEN)
    assert "ClientConnectorError" in caplog.text
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("llmux")]
    assert not any("planted-secret" in each for each in ours)


async def test_who_does_not_answer_is_not_waited_for(url, listener, caplog):
    listener.gate.clear()
    bus = Bus()
    async with told_of(bus, HookConfig(url=url, timeout=0.2, attempts=1)):
        bus.publish(WOKEN)
    assert "no answer within 0.2 s" in caplog.text
    listener.gate.set()


async def test_what_a_full_queue_does_not_take_is_left_out_and_told(url, listener, caplog):
    listener.gate.clear()
    bus = Bus()
    async with told_of(bus, HookConfig(url=url, max_waiting=2)):
        for _ in range(10):
            bus.publish(moved())
            await asyncio.sleep(0)
        listener.gate.set()
    assert len(listener.told) < 10
    assert "2 events wait already: further ones are left out" in caplog.text


async def test_so_many_at_a_time_as_is_allowed(url, listener):
    listener.gate.clear()
    bus = Bus()
    async with told_of(bus, HookConfig(url=url, concurrency=3)):
        for _ in range(9):
            bus.publish(moved())
        await asyncio.sleep(0.3)
        assert len(listener.told) == 3
        listener.gate.set()
    assert len(listener.told) == 9


async def test_a_program_has_the_event_in_its_environment_and_nothing_of_llmuxs(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "planted-secret")
    script = f'printf %s "$LLMUX_EVENT_KIND $LLMUX_EVENT" > {tmp_path}/told; env > {tmp_path}/env'
    bus = Bus()
    async with told_of(bus, HookConfig(command=("sh", "-c", script))):
        bus.publish(WOKEN)
    kind, _, event = (tmp_path / "told").read_text().partition(" ")
    assert kind == "wake_done"
    assert json.loads(event)["data"]["seconds"] == 2.5
    assert "planted-secret" not in (tmp_path / "env").read_text()


async def test_a_program_that_fails_is_tried_again(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    script = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) = 2 || {{ echo no >&2; exit 3; }}"
    bus = Bus()
    async with told_of(
        bus, HookConfig(command=("sh", "-c", script)), HookConfig(command=("/nowhere/x",), attempts=1)
    ):
        bus.publish(WOKEN)
    assert (tmp_path / "tries").read_text() == "x\nx\n"
    assert "sh ended with 3: no" in caplog.text
    assert (
        "hooks.1: it was not told of wake_done 1 (try 1, the last): /nowhere/x cannot be started"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("content", "mode", "fault"),
    [
        (None, 0, "No such file"),
        ("", 0o600, "is empty"),
        ("s", 0o644, "everybody on this machine can read"),
        ("s", 0o620, "others than its owner can write"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_named_at_start(tmp_path, content, mode, fault):
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_text(content)
        secret.chmod(mode)
    with pytest.raises(NodeUnfit, match=rf"hooks\.0\.secret_file: .*{fault}"):
        await Hooks.of([HookConfig(url="http://x", secret_file=secret)])


def test_each_kind_of_event_can_be_asked_for():
    assert {kind_of(kind) for kind in get_args(Happening)} == set(get_args(EventKind))
