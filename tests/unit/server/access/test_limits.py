"""Token buckets are told the time: so many a minute, evenly, and no more however one asks."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmux.server.access.errors import LimitReached
from llmux.server.access.keys import Key, Limits
from llmux.server.access.limits import Bucket, Limiter


def key(name="k", **limits):
    return Key(name, b"", limits=Limits(**limits))


def refusal(limiter, one, now):
    with pytest.raises(LimitReached) as caught:
        limiter.enter(one, now)
    return caught.value


def test_requests_are_so_many_a_minute_and_come_back_evenly():
    limiter, one = Limiter(), key(requests=2)
    for _ in range(2):
        limiter.enter(one, 0.0)
    refused = refusal(limiter, one, 0.0)
    assert (refused.limit, refused.retry_after) == ("2 requests a minute", 30.0)
    assert refusal(limiter, one, 29.0).retry_after == pytest.approx(1.0)
    limiter.enter(one, 30.0)


def test_tokens_are_taken_afterwards_and_may_come_to_owe():
    limiter, one = Limiter(), key(tokens=60)
    limiter.enter(one, 0.0)
    limiter.leave(one, 90, 0.0)
    refused = refusal(limiter, one, 0.0)
    assert (refused.limit, refused.retry_after) == ("60 tokens a minute", 31.0)
    limiter.enter(one, 31.0)


def test_so_many_at_a_time():
    limiter, one = Limiter(), key(concurrency=1)
    limiter.enter(one, 0.0)
    assert refusal(limiter, one, 500.0).limit == "1 requests at a time"
    limiter.leave(one, 0, 500.0)
    limiter.enter(one, 500.0)


def test_a_refusal_takes_nothing_and_no_key_takes_of_anothers():
    limiter, one = Limiter(), key(requests=5, concurrency=1)
    limiter.enter(one, 0.0)
    for _ in range(9):
        refusal(limiter, one, 0.0)
    assert limiter.headers(one, 0.0)["x-ratelimit-remaining-requests"] == "4"
    limiter.enter(key("other", requests=1), 0.0)


def test_the_headers_tell_what_is_limited_only():
    limiter, one = Limiter(), key(requests=60, tokens=600)
    limiter.enter(one, 0.0)
    limiter.leave(one, 700, 0.0)
    assert limiter.headers(one, 0.0) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1.000s",
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "70.000s",
    }
    assert limiter.headers(key("other"), 0.0) == {}


def test_a_limit_that_changes_forgives_nothing():
    limiter = Limiter()
    for _ in range(10):
        limiter.enter(key(requests=10), 0.0)
    assert limiter.headers(key(requests=100), 0.0)["x-ratelimit-remaining-requests"] == "90"
    assert refusal(limiter, key(requests=5), 0.0).retry_after > 0


@pytest.mark.parametrize("before", [{}, {"requests": 5, "tokens": 5}])
def test_what_was_under_way_when_a_limit_changed_forgives_nothing_as_it_ends(before):
    limiter, old, new = Limiter(), key(**before), key(requests=3, tokens=100)
    for _ in range(2):
        limiter.enter(old, 0.0)
    limiter.enter(new, 0.0)
    limiter.leave(new, 200, 0.0)
    assert limiter.headers(new, 0.0)["x-ratelimit-remaining-tokens"] == "0"
    limiter.headers(old, 0.0)
    limiter.leave(old, 0, 0.0)
    limiter.headers(old, 0.0)
    limiter.leave(old, 0, 0.0)
    assert refusal(limiter, new, 0.0).limit == "100 tokens a minute"


def test_keys_that_are_gone_are_forgotten_once_nothing_of_theirs_is_under_way():
    limiter, one = Limiter(), key(requests=1)
    limiter.enter(one, 0.0)
    limiter.keep_only([])
    refusal(limiter, one, 0.0)
    limiter.leave(one, 0, 0.0)
    limiter.keep_only([])
    limiter.enter(one, 0.0)


@given(
    st.integers(1, 50),
    st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=80),
)
def test_however_one_asks_it_is_never_more_than_a_minutes_worth_and_what_came_since(capacity, pauses):
    limiter, one, now, granted = Limiter(), key(requests=capacity), 0.0, 0
    for pause in pauses:
        now += pause
        with suppress(LimitReached):
            limiter.enter(one, now)
            granted += 1
    assert granted <= capacity + now * capacity / 60 + 1e-6


@given(st.integers(1, 1000), st.floats(-1000, 1000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_bucket_never_overflows_nor_runs_backwards(capacity, level, early, late):
    bucket = Bucket(capacity, min(level, capacity), max(early, late)).after(min(early, late))
    assert bucket.level <= capacity
    assert bucket.at == max(early, late)
