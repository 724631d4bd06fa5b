"""The sections that say who may do what, and how llmux listens."""

from __future__ import annotations

import pytest
from samples import faults, loaded, model

from llmux.server import config
from llmux.server.config import changes

HASH = "sha256:" + "0" * 64


def fault(**fields):
    (found,) = faults({"models": {"m": model()}} | fields)
    return found


@pytest.mark.parametrize(
    ("access", "path"),
    [
        ({"keys": {"k": {}}}, "access.keys.k"),
        ({"keys": {"k": {"hash": HASH, "env": "X"}}}, "access.keys.k"),
        ({"keys": {"k": {"hash": "llmux-plain"}}}, "access.keys.k.hash"),
        ({"keys": {"k": {"env": "A=B"}}}, "access.keys.k.env"),
        ({"keys": {"k": {"file": "relative"}}}, "access.keys.k.file"),
        ({"keys": {"k": {"hash": HASH, "role": "root"}}}, "access.keys.k.role"),
        ({"keys": {"k": {"hash": HASH, "concurrency": 0}}}, "access.keys.k.concurrency"),
        ({"keys": {"k": {"hash": HASH, "expires": "2030-01-01T00:00:00"}}}, "access.keys.k.expires"),
        ({"keys": {"a key": {"hash": HASH}}}, "access.keys.a key"),
        ({"cors_origins": ["https://a.example/path"]}, "access.cors_origins.0"),
        ({"cors_origins": ["a.example"]}, "access.cors_origins.0"),
        ({"admin_uids": [-1]}, "access.admin_uids.0"),
    ],
)
def test_what_cannot_be_is_named(access, path):
    assert fault(access=access).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("listen", "path"),
    [
        ({"unix_socket": "/" + "x" * 100}, "listen.unix_socket"),
        ({"unix_mode": "rw"}, "listen.unix_mode"),
        ({"unix_mode": "0999"}, "listen.unix_mode"),
        ({"body_timeout": 0}, "listen.body_timeout"),
        ({"largest_body": 0}, "listen.largest_body"),
    ],
)
def test_how_it_cannot_listen_is_named(listen, path):
    assert fault(listen=listen).startswith(f"{path}: ")


def test_a_key_that_is_no_hash_is_not_repeated():
    assert "llmux-plain" not in fault(access={"keys": {"k": {"hash": "llmux-plain"}}})


def test_the_port_for_admins_is_its_own():
    assert fault(admin_port=3000).startswith("admin_port: 3000 is also the port of llmux itself")
    assert loaded(admin_port=3001).admin_port == 3001


def test_who_may_do_what_holds_at_once_and_how_it_listens_at_the_next_start():
    found = changes(
        loaded(),
        loaded(access={"keys": {"k": {"hash": HASH}}}, listen={"most_headers": 99}, admin_port=3001),
    )
    assert found.node == ("access.keys",)
    assert found.at_next_start == ("admin_port", "listen.most_headers")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ["whoever reaches 0.0.0.0:3000 may use /v1", "port 3000 are for clients by the loopback"]),
        ({"admin_port": 3001}, ["may use /v1", "port 3001 are for clients by the loopback"]),
        ({"access": {"token": {"hash": HASH}}}, ["may use /v1", "need access.token"]),
        ({"access": {"keys": {"k": {"hash": HASH}}}}, ["needs one of the 1 configured keys"]),
    ],
)
def test_what_is_open_is_said_at_start(fields, words):
    told = config.exposure(loaded(**fields))
    assert len(told) == len(words)
    assert all(word in line for word, line in zip(words, told, strict=True))
