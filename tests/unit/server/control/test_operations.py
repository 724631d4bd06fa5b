"""Operations: begun and looked at later, waited for, and begun once by an Idempotency-Key."""

from __future__ import annotations

import asyncio

import pytest

from llmux.server.control import _jobs

WAKE_M = {"model": "m"}


@pytest.fixture
def gate(house):
    """Hold every sleep of m up."""
    house.hands["m"].gates["dump"] = asyncio.Event()
    return house.hands["m"].gates["dump"]


async def begin_to_sleep(house, **headers):
    assert (await house.call("POST", "/control/wake", WAKE_M)).status == 200
    return await house.call("POST", "/control/sleep?wait=false", WAKE_M, **headers)


async def test_work_can_be_begun_and_looked_at_later(house, gate):
    begun = await begin_to_sleep(house)
    operation = begun.json
    assert (begun.status, operation["status"], operation["kind"]) == (202, "under_way", "sleep")
    where = begun.headers["Location"]
    seen = (await house.call("GET", where)).json
    assert (seen["phase"], seen["result"], seen["problem"]) == ("dump", None, None)
    assert (await house.call("GET", "/control/models/m")).json["phase"] == "dump"
    assert 0 <= seen["percent"] < 100
    assert seen["eta_seconds"] > 0
    gate.set()
    over = (await house.call("GET", f"{where}?wait=10")).json
    assert (over["status"], over["percent"], over["result"]["state"]) == ("done", 100, "asleep")
    assert over["result"]["checkpoint"]["bytes"] == 7
    assert (await house.call("GET", "/control/models/m")).json["phase"] is None
    listed = (await house.call("GET", "/control/operations")).json["operations"]
    assert [(each["kind"], each["status"]) for each in listed] == [("sleep", "done"), ("wake", "done")]


async def test_one_may_wait_for_so_long_only(house, gate):
    await house.call("POST", "/control/wake", WAKE_M)
    assert (await house.call("POST", "/control/sleep?wait=0.05", WAKE_M)).status == 202
    gate.set()
    assert (await house.call("POST", "/control/sleep?wait=10", WAKE_M)).status == 200


async def test_to_prefer_an_operation_is_heeded_and_said_so(house, gate):
    await house.call("POST", "/control/wake", WAKE_M)
    for preference in ("respond-async", "respond-async, wait=0"):
        begun = await house.call("POST", "/control/sleep", WAKE_M, Prefer=preference)
        assert (begun.status, begun.headers["Preference-Applied"]) == (202, "respond-async")
    gate.set()
    assert (await house.call("POST", "/control/sleep", WAKE_M, Prefer="wait=0")).status == 200


async def test_what_fails_later_says_why(house):
    begun = await house.call("POST", "/control/sleep?wait=false", {"model": "n"})
    assert begun.status == 202
    over = (await house.call("GET", begun.headers["Location"] + "?wait=5")).json
    assert (over["status"], over["problem"]["code"], over["percent"]) == ("failed", "illegal_move", None)


async def test_a_wake_that_waits_for_room_says_so(house, gate):
    await house.call("POST", "/control/wake", WAKE_M)
    begun = await house.call("POST", "/control/wake?wait=false", {"model": "n"})
    assert (begun.status, begun.json["phase"]) == (202, "waiting")
    assert begun.json["eta_seconds"] > 0
    gate.set()
    assert (await house.call("GET", begun.headers["Location"] + "?wait=5")).json["status"] == "done"


async def test_work_goes_on_when_its_client_goes(house, gate):
    await house.call("POST", "/control/wake", WAKE_M)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await house.call("POST", "/control/sleep", WAKE_M)
    (operation, _) = (await house.call("GET", "/control/operations")).json["operations"]
    assert operation["status"] == "under_way"
    gate.set()
    over = await house.call("GET", f"/control/operations/{operation['id']}?wait=5")
    assert over.json["status"] == "done"


async def test_a_key_begins_its_work_once(house, gate):
    first = await begin_to_sleep(house, Idempotency_Key="k1")
    again = await house.call("POST", "/control/sleep?wait=0", WAKE_M, Idempotency_Key="k1")
    assert (again.status, again.json["id"]) == (202, first.json["id"])
    other = {"model": "m", "eviction": {"process": "stop"}}
    refused = await house.call("POST", "/control/sleep", other, Idempotency_Key="k1")
    assert (refused.status, refused.json["error"]["code"]) == (422, "idempotency_key_reused")
    assert (await house.call("POST", "/control/wake", WAKE_M, Idempotency_Key="k1")).status == 422
    gate.set()
    done = await house.call("POST", "/control/sleep", WAKE_M, Idempotency_Key="k1")
    assert (done.status, done.json["state"]) == (200, "asleep")


async def test_keys_are_forgotten_by_time_and_number(house, monkeypatch):
    async def work(key):
        answered = await house.call("POST", "/control/wake", WAKE_M, Idempotency_Key=key)
        assert answered.status == 200
        return (await house.call("GET", "/control/operations")).json["operations"][0]["id"]

    first = await work("a")
    assert await work("a") == first
    monkeypatch.setattr(_jobs, "KEYS", 1)
    second = await work("b")
    assert second != first
    assert await work("a") not in {first, second}
    monkeypatch.setattr(_jobs, "KEY_SECONDS", -1.0)
    assert await work("a") not in {first, second}


async def test_operations_are_bounded(house, gate, monkeypatch):
    monkeypatch.setattr(_jobs, "KEPT", 2)
    monkeypatch.setattr(_jobs, "UNDER_WAY", 1)
    begun = await begin_to_sleep(house)
    refused = await house.call("POST", "/control/wake", {"model": "n"})
    assert (refused.status, refused.json["error"]["code"]) == (429, "too_many_operations")
    gate.set()
    await house.call("GET", begun.headers["Location"] + "?wait=5")
    for _ in range(2):
        await house.call("POST", "/control/sleep", WAKE_M)
    gone = await house.call("GET", begun.headers["Location"])
    assert (gone.status, gone.json["error"]["code"]) == (404, "operation_not_found")


async def test_the_end_of_llmux_breaks_operations_off(house, gate):
    begun = await begin_to_sleep(house)
    waiting = asyncio.ensure_future(  # noqa: TID251 - a test's clients are tasks of its own
        house.call("GET", begun.headers["Location"] + "?wait=60")
    )
    await asyncio.sleep(0.05)
    await house.driver.close()
    over = (await waiting).json
    assert (over["status"], over["problem"]["code"]) == ("failed", "stopping")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/control/wake?wait=soon", {}),
        ("POST", "/control/wake?wait=-1", {}),
        ("POST", "/control/wake?wait=nan", {}),
        ("POST", "/control/wake?wait=601", {}),
        ("POST", "/control/wake?wiat=1", {}),
        ("POST", "/control/wake?wait=1&wait=2", {}),
        ("POST", "/control/wake", {"Idempotency_Key": "with space"}),
        ("POST", "/control/wake", {"Idempotency_Key": "k" * 256}),
        ("GET", "/control/operations/x?wait=true", {}),
    ],
)
async def test_what_cannot_be_meant_is_refused(house, method, path, headers):
    refused = await house.call(method, path, WAKE_M, **headers)
    assert (refused.status, refused.json["error"]["code"]) == (400, "invalid_request")


async def test_a_fault_of_llmux_is_told_of_and_in_the_log(house, monkeypatch, caplog):
    async def fail(*_):
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(house.driver, "wake", fail)
    answered = await house.call("POST", "/control/wake", WAKE_M)
    assert (answered.status, answered.json["error"]["code"]) == (500, "internal_error")
    assert "failed unforeseen" in caplog.text
