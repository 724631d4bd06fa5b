"""What callers are told of themselves."""

from __future__ import annotations

import json

import pytest

from llmux.server import _app, _gate
from llmux.server._gate import GATE, Gate
from llmux.server.access.keys import Key, Limits, digest
from llmux.server.access.origin import Peer
from llmux.server.access.policy import Access
from llmux.server.access.roles import Role

RIGHTS = {
    "use": ["use"],
    "observe": ["observe"],
    "control": ["use", "observe", "control"],
    "admin": ["use", "observe", "control", "admin"],
}


@pytest.fixture
async def door(opened, make_driver, make_hands):
    """Give a function that opens an llmux behind a gate."""

    async def open_one(access, **gate):
        return await opened(_app.build(make_driver({"m": make_hands()}), gate=Gate(access, **gate)))

    return open_one


async def ask(door, key=None, **headers):
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    return await door.call("GET", "/control/whoami", **headers)


async def test_each_role_is_told_what_it_may(door):
    there = await door(Access.of([Key(f"the {role}", digest(role), role) for role in Role]))
    for role, rights in RIGHTS.items():
        told = (await ask(there, role)).json
        assert (told["name"], told["role"], told["rights"], told["keyed"]) == (
            f"the {role}",
            role,
            rights,
            True,
        )
    assert (await ask(there)).status == (await ask(there, "another")).status == 401


async def test_a_key_is_told_its_models_its_end_and_what_is_left_and_asking_takes_nothing(door):
    limits = Limits(requests=2, tokens=600, concurrency=2)
    key = Key("k", digest("k"), models=("m", "chat-*"), limits=limits, priority=-3, expires=4e9)
    there = await door(Access.of([key]))
    await there.call("GET", "/v1/models", Authorization="Bearer k")
    for _ in range(2):
        told = (await ask(there, "k")).json
        assert (told["models"], told["priority"]) == (["m", "chat-*"], -3)
        assert told["expires_at"].startswith("2096-10-02T")
        requests = told["limits"]["requests"]
        assert (requests["per_minute"], requests["left"]) == (2, 1)
        assert 0 < requests["full_in_seconds"] <= 30
        assert told["limits"]["tokens"] == {"per_minute": 600, "left": 600, "full_in_seconds": 0}
        assert told["limits"]["concurrency"] == {"most": 2, "under_way": 0}


async def test_an_expired_key_is_nobody(door):
    there = await door(Access.of([Key("k", digest("k"), expires=1.0)]))
    assert (await ask(there, "k")).status == 401


async def test_without_keys_this_machine_may_do_all_and_others_use(door, monkeypatch):
    there = await door(Access())
    told = (await ask(there, "whatever a client sends")).json
    assert (told["name"], told["role"], told["keyed"]) == ("this machine", "admin", False)
    assert told["limits"] == {"requests": None, "tokens": None, "concurrency": None}
    assert (await ask(there, Origin="https://evil.example")).json["role"] == "use"
    monkeypatch.setattr(_gate, "_peer", lambda _request: Peer("192.0.2.7"))
    told = (await ask(there)).json
    assert (told["name"], told["rights"]) == ("anybody", ["use"])


async def test_with_a_token_alone_others_use_and_a_wrong_one_is_said(door):
    there = await door(Access.of(token=digest("secret")))
    assert (await ask(there)).json["rights"] == ["use"]
    assert (await ask(there, "secret")).json["role"] == "admin"
    assert (await ask(there, "wrong")).status == 401


async def test_users_of_the_port_for_all_may_ask_where_there_is_one_for_admins(door):
    there = await door(Access(), admin_port=1)
    assert (await ask(there)).status == 200
    assert (await there.call("GET", "/control/status")).status == 404


async def test_it_says_which_llmux_answers_and_which_page_it_has(door):
    there = await door(Access())
    told = (await ask(there)).json["llmux"]
    assert (await ask(there)).json["llmux"] == told
    assert set(told) == {"version", "started_at", "page"}
    assert len(told["page"]) == 32


async def test_no_key_is_in_it(door):
    there = await door(Access.of([Key("k", digest("the-very-key"))]))
    told = json.dumps((await ask(there, "the-very-key")).json)
    assert "very-key" not in told
    assert there.app[GATE].access.ring.keys[0].digest.hex() not in told
