"""What somebody rules by hand: switches, the mode, pins, evictions and drains."""

from __future__ import annotations

import asyncio

import pytest

M, N = {"model": "m"}, {"model": "n"}

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


async def states(house):
    told = (await house.call("GET", "/control/status")).json["models"]
    return {name: each["state"] for name, each in told.items()}


def complete(house, model, **fields):
    return soon(house.call("POST", "/v1/completions", {"model": model, **fields}))


async def test_a_switch_puts_to_sleep_who_is_in_the_way(house):
    await house.call("POST", "/control/wake", M)
    switched = await house.call("POST", "/control/switch", N)
    assert (switched.status, switched.json["state"]) == (200, "running")
    assert switched.json["put_to_sleep"] == ["m"]
    assert await states(house) == {"m": "asleep", "n": "running"}
    assert (await house.call("POST", "/control/switch", N)).json["put_to_sleep"] == []


async def test_a_switch_lets_requests_in_flight_be_answered(house):
    answer = complete(house, "m")
    await house.engine.begun.wait()
    switching = (await house.call("POST", "/control/switch?wait=0.05", N)).json
    assert (switching["kind"], switching["status"]) == ("switch", "under_way")
    assert await states(house) == {"m": "draining", "n": "not_started"}
    house.engine.go.set()
    assert (await answer).json == {"answered": True}
    over = await house.call("GET", f"/control/operations/{switching['id']}?wait=5")
    assert over.json["result"]["put_to_sleep"] == ["m"]


async def test_in_manual_mode_requests_for_who_does_not_serve_are_refused(house):
    assert (await house.call("GET", "/control/mode")).json == {"mode": "auto"}
    assert (await house.call("PUT", "/control/mode", {"mode": "manual"})).json == {"mode": "manual"}
    house.engine.go.set()
    refused = await complete(house, "m")
    assert (refused.status, refused.json["error"]["code"]) == (503, "manual_mode")
    assert "/control/switch" in refused.json["error"]["hint"]
    await house.call("POST", "/control/wake", M)
    assert (await complete(house, "m")).status == 200
    no_room = await house.call("POST", "/control/wake", N)
    assert (no_room.status, no_room.json["error"]["code"]) == (503, "no_room")
    assert "/control/switch" in no_room.json["error"]["message"]
    assert (await house.call("POST", "/control/switch", N)).status == 200
    assert await states(house) == {"m": "asleep", "n": "running"}
    assert (await house.call("GET", "/control/status")).json["node"]["mode"] == "manual"


async def test_who_waits_when_the_mode_turns_manual_is_refused_and_served_again_in_auto(house):
    held = house.hands["m"].gates["dump"] = asyncio.Event()
    await house.call("POST", "/control/wake", M)
    waiting = complete(house, "n")
    while len(house.driver.models["n"].queue) == 0:  # noqa: ASYNC110 - nobody tells of a request that waits
        await asyncio.sleep(0)
    await house.call("PUT", "/control/mode", {"mode": "manual"})
    assert (await waiting).json["error"]["code"] == "manual_mode"
    held.set()
    house.engine.go.set()
    await house.call("PUT", "/control/mode", {"mode": "auto"})
    assert (await complete(house, "n")).status == 200


async def test_a_drain_refuses_what_is_new_and_waits_for_what_is_old(house):
    old = complete(house, "m")
    await house.engine.begun.wait()
    draining = await house.call("POST", "/control/drain?wait=false", M)
    assert (draining.status, draining.json["phase"]) == (202, "draining")
    new = await complete(house, "m")
    assert (new.status, new.json["error"]["code"]) == (503, "drained")
    assert (await house.call("GET", "/control/status")).json["models"]["m"]["draining"]
    house.engine.go.set()
    assert (await old).status == 200
    over = (await house.call("GET", draining.headers["Location"] + "?wait=5")).json
    assert (over["status"], over["result"]["model"]) == ("done", "m")
    assert (await complete(house, "n")).status == 200
    assert (await house.call("POST", "/control/undrain", M)).json == {"model": "m", "draining": False}
    assert (await complete(house, "m")).status == 200


async def test_all_models_are_drained_together_and_can_be_woken_by_hand_meanwhile(house):
    house.engine.go.set()
    assert (await house.call("POST", "/control/drain", {})).json["model"] is None
    for name in ("m", "n"):
        assert (await complete(house, name)).status == 503
    assert (await house.call("POST", "/control/wake", M)).status == 200
    assert (await house.call("GET", "/control/status")).json["node"]["draining"]
    await house.call("POST", "/control/undrain", {})
    assert (await complete(house, "m")).status == 200


async def test_a_pinned_model_is_woken_and_sleeps_for_nobody_until_unpinned(configured):
    assert (await configured.call("POST", "/control/pin", M)).json == {"model": "m", "pinned": True}
    while (await states(configured))["m"] != "running":  # noqa: ASYNC110 - nobody waits for it here
        await asyncio.sleep(0.01)
    refused = await configured.call("POST", "/control/switch", N)
    assert (refused.status, refused.json["error"]["code"]) == (503, "no_room")
    assert "m is pinned" in refused.json["error"]["message"]
    assert (await configured.call("GET", "/control/status")).json["models"]["m"]["pinned"]
    assert (await configured.call("POST", "/control/unpin", M)).json == {"model": "m", "pinned": False}
    assert (await configured.call("POST", "/control/switch", N)).status == 200
    await configured.call("POST", "/control/pin", N)
    await configured.call("POST", "/control/reload")
    assert not configured.driver.models["n"].rules.pinned


async def test_an_eviction_is_set_until_the_next_reload(configured):
    first = await configured.call("GET", "/control/eviction?model=m")
    assert first.json["eviction"] == {"weights": "discard", "process": "checkpoint"}
    asked = {"model": "m", "eviction": {"process": "keep_running"}}
    there = await configured.call("PUT", "/control/eviction", asked)
    assert there.json == {"model": "m", "eviction": {"weights": "discard", "process": "keep_running"}}
    await configured.call("POST", "/control/wake", M)
    slept = await configured.call("POST", "/control/sleep", M)
    assert slept.json["eviction"]["process"] == "keep_running"
    assert configured.hands["m"].lives[0].asleep
    assert (await configured.call("POST", "/control/reload")).json["changed"] == {"m": ["eviction.process"]}
    assert (await configured.call("GET", "/control/eviction?model=m")).json == first.json


async def test_an_eviction_leaves_of_its_ladder_what_still_goes_deeper(configured):
    ladder = {"eviction": {"process": "keep_running", "escalate": ["checkpoint", "stop"]}}
    ladder["ladder"] = {"deepen_after": 60, "stop_after": 600}
    await asyncio.to_thread(configured.write, ladder)
    await configured.call("POST", "/control/reload")
    asked = {"model": "m", "eviction": {"process": "checkpoint"}}
    assert (await configured.call("PUT", "/control/eviction", asked)).status == 200
    rules = configured.driver.models["m"].rules
    assert [(each.eviction.process, each.after) for each in rules.rungs] == [("checkpoint", 0), ("stop", 600)]
    assert [each.process for each in rules.escalation] == ["stop"]


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("PUT", "/control/eviction", {"model": "m", "eviction": {"process": "cuda_suspend"}}, 400),
        ("PUT", "/control/eviction", {"model": "x", "eviction": {}}, 404),
        ("POST", "/control/pin", {"model": "x"}, 404),
        ("POST", "/control/drain", {"model": "x"}, 404),
        ("PUT", "/control/mode", {"mode": "semi"}, 400),
        ("GET", "/control/eviction", None, 400),
        ("GET", "/control/eviction?model=x", None, 404),
        ("POST", "/control/switch", {"model": "x"}, 404),
    ],
)
async def test_what_cannot_be_ruled_is_refused(configured, method, path, body, code):
    refused = await configured.call(method, path, body)
    assert refused.status == code
    assert refused.json["error"]["message"]


async def test_the_configuration_says_the_mode_and_a_reload_changes_it_only_where_it_says_another(configured):
    await configured.call("PUT", "/control/mode", {"mode": "manual"})
    await configured.call("POST", "/control/reload")
    assert (await configured.call("GET", "/control/mode")).json["mode"] == "manual"
    for mode in ("manual", "auto"):
        await asyncio.to_thread(configured.write, mode=mode)
        assert (await configured.call("POST", "/control/reload")).json["node"] == ["mode"]
        assert (await configured.call("GET", "/control/mode")).json["mode"] == mode
