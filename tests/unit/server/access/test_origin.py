"""The loopback address is no proof of a friend: what a browser sends on behalf of a web page is found out."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from llmux.server.access.origin import (
    Peer,
    cors_headers,
    foreign,
    is_loopback,
    is_preflight,
    preflight_headers,
)

CHAT = "https://chat.example.org"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_what_is_loopback(address):
    assert is_loopback(address)
    assert Peer(address).is_loopback


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "::", "0.0.0.0", "fe80::1%lo", "::ffff:10.0.0.1", "", "localhost"]
)
def test_what_is_not(address):
    assert not is_loopback(address)


def why(scheme="http", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return foreign(CIMultiDict(named), scheme)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:3000", "127.0.0.1:3000", "[::1]:3000", "llmux.localhost", "LOCALHOST:1"]
)
def test_this_machines_own_names_pass(host):
    assert why(Host=host) == ""
    assert why(Host=host, Origin=f"http://{host.lower()}", Sec_Fetch_Site="same-origin") == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "0.0.0.0:3000",
        "10.0.0.1",
        "",
        "[",
        "127.0.0.1@evil",
    ],
)
def test_a_name_that_leads_here_by_rebinding_does_not(host):
    assert "Host" in why(Host=host)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://localhost:8080",
        "https://localhost:3000",
        "http://localhost:x",
        "http://[",
    ],
)
def test_a_page_of_another_origin_does_not(origin):
    assert "page" in why(Host="localhost:3000", Origin=origin)


def test_default_ports_are_of_the_scheme():
    assert why(Host="localhost", Origin="http://localhost:80") == ""
    assert why("https", Host="localhost", Origin="https://localhost") == ""


@pytest.mark.parametrize("site", ["cross-site", "same-site", "something-new"])
def test_a_page_that_sends_no_origin_is_found_by_its_site(site):
    assert "page" in why(Host="localhost", Sec_Fetch_Site=site)
    assert why(Host="localhost", Sec_Fetch_Site="none") == ""


@pytest.mark.parametrize(
    "header", ["X_Forwarded_For", "X_Forwarded_Proto", "Forwarded", "X_Real_IP", "Via", "CF_Connecting_IP"]
)
def test_what_comes_through_a_proxy_does_not(header):
    assert "proxy" in why(Host="localhost", **{header: "127.0.0.1"})


def test_a_preflight_is_answered_by_what_is_configured():
    asked = CIMultiDict({"Origin": CHAT, "Access-Control-Request-Method": "POST"})
    assert is_preflight("OPTIONS", asked)
    assert not is_preflight("POST", asked)
    assert not is_preflight("OPTIONS", CIMultiDict({"Origin": CHAT}))
    assert preflight_headers(asked, ()) is None
    assert preflight_headers(asked, ("https://other.example.org",)) is None
    assert preflight_headers(asked, (CHAT,))["Access-Control-Allow-Origin"] == CHAT
    assert preflight_headers(asked, ("*",))["Access-Control-Allow-Origin"] == "*"
    wanted = preflight_headers(
        CIMultiDict(asked, **{"Access-Control-Request-Headers": "x-stainless-os"}), (CHAT,)
    )
    assert wanted["Access-Control-Allow-Headers"] == "x-stainless-os"
    assert "Access-Control-Allow-Private-Network" not in wanted
    nearer = CIMultiDict(asked, **{"Access-Control-Request-Private-Network": "true"})
    assert preflight_headers(nearer, (CHAT,))["Access-Control-Allow-Private-Network"] == "true"


def test_answers_are_for_configured_origins_and_caches_know():
    assert cors_headers(CIMultiDict({"Origin": CHAT}), ()) == {}
    assert cors_headers(CIMultiDict({"Origin": "https://evil.example"}), (CHAT,)) == {"Vary": "Origin"}
    assert cors_headers(CIMultiDict(), (CHAT,)) == {"Vary": "Origin"}
    told = cors_headers(CIMultiDict({"Origin": CHAT}), (CHAT,))
    assert (told["Access-Control-Allow-Origin"], told["Vary"]) == (CHAT, "Origin")
