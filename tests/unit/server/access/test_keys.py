"""A key is known by its digest, and by nothing else."""

from __future__ import annotations

import hashlib

import pytest

from llmux.server.access.keys import Key, KeyRing, digest, digest_in, hash_of

TEXT = "llmux-" + "a" * 43


def test_a_key_is_found_by_its_whole_text_only():
    ring = KeyRing([Key("one", digest(TEXT)), Key("two", digest(TEXT + "b"))])
    assert ring.find(TEXT).name == "one"
    assert ring.find(TEXT + "b").name == "two"
    for other in ("", TEXT[:-1], TEXT + " ", TEXT.upper(), hash_of(TEXT), "\udcff"):
        assert ring.find(other) is None


def test_a_hash_is_sha256_and_read_back():
    assert hash_of(TEXT) == "sha256:" + hashlib.sha256(TEXT.encode()).hexdigest()
    assert digest_in(hash_of(TEXT)) == digest(TEXT)
    assert digest_in(TEXT) is None
    assert digest_in("sha256:abc") is None


def test_neither_text_nor_digest_is_shown():
    key = Key("one", digest(TEXT))
    assert digest(TEXT).hex() not in repr(key)
    assert str(digest(TEXT)) not in repr(key)


@pytest.mark.parametrize(
    ("models", "allowed", "refused"),
    [
        (None, ["a", "b"], []),
        (("a",), ["a"], ["A", "ab", "b"]),
        (("chat-*", "b"), ["chat-1", "b"], ["chat", "xchat-1"]),
        ((), [], ["a"]),
    ],
)
def test_models_go_by_name_or_pattern(models, allowed, refused):
    key = Key("k", b"", models=models)
    assert [name for name in (*allowed, *refused) if key.allows(name)] == allowed


def test_a_key_expires_at_its_time():
    key = Key("k", b"", expires=100.0)
    assert (key.expired(99.9), key.expired(100.0), Key("k", b"").expired(1e12)) == (False, True, False)
