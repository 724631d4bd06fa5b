"""Who asks and whether they may, in each way that llmux can be configured."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from llmux.server.access.errors import ModelNotAllowed, NotAllowed, NotAuthenticated
from llmux.server.access.keys import Key, digest
from llmux.server.access.origin import Peer
from llmux.server.access.policy import Access, Asked, without_keys
from llmux.server.access.roles import Right, Role

LOCAL, REMOTE = Peer("127.0.0.1"), Peer("192.0.2.7")
OPEN = Access()
TOKEN = Access.of(token=digest("the token"))
KEYED = Access.of([Key(role, digest(role), role) for role in Role], token=digest("the token"))
OLD = Access.of([Key("old", digest("old"), Role.ADMIN, expires=100.0)])


def verdict(access, right, peer=REMOTE, now=0.0, **headers):
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    try:
        return access.admit(Asked(right, peer, named), now).name
    except NotAuthenticated:
        return 401
    except NotAllowed:
        return 403


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize("access", [OPEN, TOKEN, KEYED, OLD])
def test_what_is_open_is_open_to_all_even_with_a_wrong_key(access):
    assert verdict(access, Right.OPEN) == "anybody"
    assert verdict(access, Right.OPEN, **bearer("wrong")) == "anybody"


def test_without_keys_v1_is_open_and_the_rest_for_this_machine():
    assert verdict(OPEN, Right.USE) == "anybody"
    assert verdict(OPEN, Right.USE, **bearer("sk-dummy")) == "anybody"
    for right in (Right.OBSERVE, Right.CONTROL, Right.ADMIN):
        assert verdict(OPEN, right, LOCAL) == "this machine"
        assert verdict(OPEN, right) == 403
        assert verdict(OPEN, right, Peer()) == 403
        assert verdict(OPEN, right, LOCAL, Host="evil.example") == 403
        for access in (OPEN, Access.of(origins=("https://page.example", "*"))):
            assert verdict(access, right, LOCAL, Host="localhost", Origin="https://page.example") == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_without_keys_no_page_of_another_origin_has_models_work(site):
    page = {"Sec-Fetch-Site": site, "Origin": "https://page.example"}
    for access in (OPEN, TOKEN, Access.of(origins=("https://other.example",))):
        assert verdict(access, Right.USE, LOCAL, **page) == 403
        assert verdict(access, Right.USE, LOCAL, **{"Sec-Fetch-Site": site}) == 403
    for access in (Access.of(origins=("https://page.example",)), Access.of(origins=("*",))):
        assert verdict(access, Right.USE, LOCAL, **page) == "anybody"
    for own in ("same-origin", "none"):
        assert verdict(OPEN, Right.USE, **{"Sec-Fetch-Site": own}) == "anybody"


def test_a_token_is_needed_from_everywhere_once_there_is_one():
    assert verdict(TOKEN, Right.USE) == "anybody"
    for right in (Right.OBSERVE, Right.CONTROL, Right.ADMIN):
        assert verdict(TOKEN, right, LOCAL) == 401
        assert verdict(TOKEN, right, **bearer("wrong")) == 401
        assert verdict(TOKEN, right, **bearer("the token")) == "access.token"
        assert verdict(TOKEN, right, Origin="https://evil.example", **bearer("the token")) == "access.token"


@pytest.mark.parametrize("peer", [LOCAL, REMOTE])
@pytest.mark.parametrize("right", [Right.USE, Right.OBSERVE, Right.CONTROL, Right.ADMIN])
def test_with_keys_everything_needs_one_that_may(peer, right):
    may = {"use": {"use"}, "observe": {"observe"}, "control": {"use", "observe", "control"}}
    assert verdict(KEYED, right, peer) == 401
    assert verdict(KEYED, right, peer, **bearer("wrong")) == 401
    assert verdict(KEYED, right, peer, **bearer("admin")) == "admin"
    assert verdict(KEYED, right, peer, **bearer("the token")) == "access.token"
    for role, allowed in may.items():
        assert verdict(KEYED, right, peer, **bearer(role)) == (role if right in allowed else 403)


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({"X_Api_Key": "use"}, "use"),
        ({"Authorization": "bearer  use "}, "use"),
        ({"Authorization": "Bearer wrong", "X_Api_Key": "use"}, "use"),
        ({"Sec_WebSocket_Protocol": "realtime, openai-insecure-api-key.use"}, "use"),
        ({"Sec_WebSocket_Protocol": "realtime, openai-insecure-api-key."}, 401),
        ({"Sec_WebSocket_Protocol": "use"}, 401),
        ({"Authorization": "Basic use"}, 401),
        ({"Authorization": "use"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"X_Api_Key": ""}, 401),
    ],
)
def test_a_key_comes_in_either_header(headers, who):
    assert verdict(KEYED, Right.USE, **headers) == who


def test_an_expired_key_is_no_key():
    assert verdict(OLD, Right.ADMIN, now=99.0, **bearer("old")) == "old"
    assert verdict(OLD, Right.ADMIN, now=100.0, **bearer("old")) == 401
    assert verdict(OLD, Right.USE, now=100.0, **bearer("old")) == 401


@pytest.mark.parametrize("access", [OPEN, TOKEN, KEYED])
def test_over_a_unix_socket_the_kernel_says_who_asks(access):
    assert verdict(access, Right.ADMIN, Peer(uid=0)) == "user 0"
    assert verdict(access, Right.USE, Peer(uid=1000)) == "user 1000"
    assert verdict(access, Right.OBSERVE, Peer(uid=1000)) == 403
    assert verdict(Access.of(admin_uids=(1000,)), Right.ADMIN, Peer(uid=1000)) == "user 1000"
    assert verdict(KEYED, Right.ADMIN, Peer(uid=1000), **bearer("admin")) == "admin"


def test_a_proxy_on_the_unix_socket_is_not_taken_for_whom_it_asks_for():
    asked = {"X-Forwarded-For": "203.0.113.9"}
    for right in (Right.OBSERVE, Right.CONTROL, Right.ADMIN):
        assert verdict(OPEN, right, Peer(uid=0), **asked) == 403
        assert verdict(TOKEN, right, Peer(uid=0), **asked) == 401
    assert verdict(OPEN, Right.USE, Peer(uid=0), **asked) == "anybody"
    assert verdict(KEYED, Right.USE, Peer(uid=0), **asked) == 401
    assert verdict(KEYED, Right.ADMIN, Peer(uid=0), **asked, **bearer("admin")) == "admin"


def test_a_key_is_for_its_models_and_has_its_priority():
    access = Access.of([Key("k", digest("k"), models=("a", "b-*"), priority=7)])
    caller = access.admit(Asked(Right.USE, REMOTE, CIMultiDict(bearer("k"))), 0.0)
    caller.check_model("a")
    caller.check_model("alias", "b-1")
    assert caller.priority == 7
    with pytest.raises(ModelNotAllowed) as caught:
        caller.check_model("c")
    assert (caught.value.model, caught.value.key) == ("c", "k")


def test_what_came_as_a_key_is_hidden_from_engines_where_it_was_meant_for_llmux():
    def hidden(access, **headers):
        return access.hides_credentials(access.admit(Asked(Right.USE, REMOTE, CIMultiDict(headers)), 0.0))

    assert not hidden(OPEN, **bearer("the engine's"))
    assert not hidden(TOKEN, **bearer("the engine's"))
    assert hidden(TOKEN, **bearer("the token"))
    assert hidden(KEYED, **bearer("use"))


def test_what_an_engine_gets_has_no_key_left_in_it():
    sent = [
        ("authorization", "Bearer k"),
        ("X-API-Key", "k"),
        ("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.k"),
        ("Sec-WebSocket-Protocol", "openai-insecure-api-key.k"),
        ("X-Mine", "1"),
    ]
    assert list(without_keys(sent)) == [("Sec-WebSocket-Protocol", "realtime"), ("X-Mine", "1")]


def test_no_error_tells_the_key():
    with pytest.raises(NotAuthenticated) as caught:
        KEYED.admit(Asked(Right.USE, REMOTE, CIMultiDict(bearer("sk-quite-secret"))), 0.0)
    assert "sk-quite-secret" not in str(caught.value)
