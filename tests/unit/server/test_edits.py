"""What is written into requests."""

from __future__ import annotations

import json

import pytest

from llmux.server import _edits

CHAT = ("max_tokens",)


def test_what_a_client_says_wins_over_defaults_also_inside_objects():
    defaults = {"temperature": 0.1, "top_k": 5, "extra": {"a": 1, "b": {"c": 2}}}
    said = {"model": "alias", "temperature": None, "extra": {"a": 3, "b": {"d": 4}}}
    assert _edits.edited(said, "m", defaults, None, CHAT) == {
        "model": "m",
        "temperature": None,
        "top_k": 5,
        "extra": {"a": 3, "b": {"c": 2, "d": 4}},
    }


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ({}, {"max_tokens": 10}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 50}, {"max_tokens": 10}),
        ({"max_completion_tokens": 50}, {"max_tokens": 10, "max_completion_tokens": 10}),
        ({"max_tokens": 3, "max_completion_tokens": 50}, {"max_tokens": 3, "max_completion_tokens": 10}),
        ({"max_tokens": None, "n_predict": -1}, {"max_tokens": 10, "n_predict": 10}),
        ({"n_predict": 1}, {"max_tokens": 10, "n_predict": 1}),
        ({"max_output_tokens": 1}, {"max_tokens": 10, "max_output_tokens": 1}),
        ({"max_tokens": "50"}, {"max_tokens": 10}),
        ({"max_tokens": True}, {"max_tokens": 10}),
    ],
)
def test_no_answer_is_longer_than_the_cap(said, becomes):
    assert _edits.edited(said, "m", {}, 10, CHAT) == becomes | {"model": "m"}


def test_defaults_are_capped_too():
    assert _edits.edited({}, "m", {"max_tokens": 99}, 10, CHAT)["max_tokens"] == 10


def test_each_api_has_its_own_word_for_the_length():
    assert _edits.limits_of("/v1/responses", "vllm") == ("max_output_tokens",)
    assert _edits.limits_of("/v1/messages", "vllm") == ("max_tokens",)
    assert _edits.limits_of("/v1/chat/completions/", "llama.cpp") == CHAT


def test_openai_is_sent_no_two_words_for_the_length_of_a_chat():
    limits = _edits.limits_of("/v1/chat/completions", "remote")
    said = {"max_completion_tokens": 50}
    assert _edits.edited(said, "m", {}, 10, limits) == {"model": "m", "max_completion_tokens": 10}


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("said", ["max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict"])
def test_another_apis_word_for_the_length_leads_around_no_cap(path, said):
    limits = _edits.limits_of(path, "vllm")
    fields = _edits.edited({said: 1}, "m", {}, 10, limits)
    assert fields[limits[0]] == (1 if said == limits[0] else 10)


def test_a_body_that_is_written_anew_loses_nothing():
    fields = {"text": "\ud800 é", "number": 10**30}
    assert json.loads(_edits.packed(fields)) == fields


def test_a_form_and_a_query_keep_everything_but_the_model():
    body = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nalias\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nmodel=alias\xff\r\n--x--\r\n'
    )
    assert _edits.form("multipart/form-data; boundary=x", body, "m") == body.replace(
        b"\r\nalias\r\n", b"\r\nm\r\n"
    )
    assert _edits.query("/v1/a%2Fb?x=%20&model=org%2Fa&y", "m/n") == "/v1/a%2Fb?x=%20&model=m%2Fn&y"
