"""Events as a stream: as they happen, again from an id on, filtered, and no more for a reader who does not read."""

from __future__ import annotations

import asyncio
import json

import pytest

from llmux.server._gate import GATE
from llmux.server._happenings import Decided
from llmux.server.access.keys import Key, digest
from llmux.server.access.policy import Access
from llmux.server.access.roles import Role
from llmux.server.control import _streaming


def happened(number):
    return Decided(model="m", replica="m", who="test", what="nothing", why=f"{number}")


async def next_event(response):
    async with asyncio.timeout(30):
        while True:
            block = (await response.content.readuntil(b"\n\n")).decode()
            if not block.startswith(":"):
                fields = dict(line.split(": ", 1) for line in block.strip().split("\n"))
                return fields.get("id"), fields["event"], json.loads(fields["data"])


async def test_what_happens_is_told_as_it_happens(house):
    async with house.session.get("/control/events") as response:
        assert response.content_type == "text/event-stream"
        await house.call("POST", "/control/wake", {"model": "m"})
        number, kind, told = await next_event(response)
        assert (number, kind) == (str(told["id"]), "decided")
        assert (told["kind"], told["model"], told["who"], told["what"]) == ("decided", "m", "control", "wake")
        while kind != "wake_done":
            number, kind, told = await next_event(response)
        assert (told["replica"], told["at"][-6:]) == ("m", "+00:00")


async def test_who_was_away_sees_what_he_has_missed_once(house):
    for number in range(5):
        house.driver.bus.publish(happened(number))
    for ask in ({"headers": {"Last-Event-ID": "3"}}, {"params": {"since": 3}}):
        async with house.session.get("/control/events", **ask) as response:
            assert [(await next_event(response))[0] for _ in range(2)] == ["4", "5"]
    async with house.session.get("/control/events?since=0") as response:
        assert [(await next_event(response))[0] for _ in range(5)] == ["1", "2", "3", "4", "5"]


async def test_a_gap_is_told_of_and_an_id_of_before_the_last_start_means_all(house):
    house.driver.bus.publish(happened(1))
    async with house.session.get("/control/events", headers={"Last-Event-ID": "77"}) as response:
        assert [(await next_event(response))[1] for _ in range(2)] == ["gap", "decided"]


async def test_events_are_chosen_by_model_and_kind(house):
    async with house.session.get("/control/events?model=n&kind=wake_done,sleep_done") as response:
        for name in ("m", "n"):
            await house.call("POST", "/control/wake", {"model": name})
        _, kind, told = await next_event(response)
        assert (kind, told["model"]) == ("wake_done", "n")


async def test_there_is_a_sign_of_life(house, monkeypatch):
    monkeypatch.setattr(_streaming, "HEARTBEAT", 0.01)
    async with house.session.get("/control/events") as response:
        assert (await response.content.readuntil(b"\n\n")).startswith(b":")


async def test_a_reader_who_falls_behind_is_told_and_sees_no_more(house, monkeypatch):
    monkeypatch.setattr(_streaming, "WAITING", 5)
    async with house.session.get("/control/events") as response:
        for number in range(9):
            house.driver.bus.publish(happened(number))
        kinds = [(await next_event(response))[1] for _ in range(6)]
        assert kinds == ["decided"] * 5 + ["dropped"]
        assert await response.content.read() == b""


async def test_however_much_is_kept_one_who_asks_for_it_gets_it_all(house, monkeypatch):
    """An EventSource asks for ?since=0 each time that it connects: cut off in between, it would never see the end."""
    monkeypatch.setattr(_streaming, "WAITING", 5)
    for number in range(20):
        house.driver.bus.publish(happened(number))
    async with house.session.get("/control/events?since=0") as response:
        assert [(await next_event(response))[0] for _ in range(20)] == [str(each) for each in range(1, 21)]
        house.driver.bus.publish(happened(20))
        assert (await next_event(response))[1] == "decided"


async def test_a_reader_whose_key_is_gone_sees_no_more(house, monkeypatch):
    monkeypatch.setattr(_streaming, "HEARTBEAT", 0.05)
    gate = house.app[GATE]
    gate.take(Access.of([Key("k", digest("k"), Role.OBSERVE)]))
    async with (
        house.session.get("/control/events", headers={"x-api-key": "k"}) as response,
        asyncio.timeout(30),
    ):
        house.driver.bus.publish(happened(1))
        assert (await next_event(response))[1] == "decided"
        gate.take(Access.of([Key("other", digest("other"))]))
        house.driver.bus.publish(happened(2))
        assert b"decided" not in await response.content.read()


async def test_a_reader_who_reads_nothing_is_cut_off(house, monkeypatch):
    monkeypatch.setattr(_streaming, "STALLED", 0.1)
    reader, writer = await asyncio.open_connection(house.base.host, house.base.port, limit=1024)
    writer.write(b"GET /control/events HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(30):
        while house.app[_streaming.FEEDS]._feeds:
            for _ in range(100):
                house.driver.bus.publish(happened("x" * 10_000))
            await asyncio.sleep(0.01)
    writer.close()


async def test_the_end_of_llmux_ends_streams(house):
    async with house.session.get("/control/events?kind=none") as response:
        await house.app.shutdown()
        assert (await next_event(response))[1] == "end"
        assert await response.content.read() == b""


@pytest.mark.parametrize(
    ("query", "header"), [("?since=x", None), ("?knid=x", None), ("", "soon"), ("", "-1")]
)
async def test_what_cannot_be_meant_is_refused(house, query, header):
    headers = {"Last_Event_ID": header} if header else {}
    assert (await house.call("GET", f"/control/events{query}", **headers)).status == 400
