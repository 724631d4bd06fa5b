"""Answers as they come in pieces, of both APIs and of more than one engine."""

from __future__ import annotations

import json

import pytest

from llmux.server.bench.stream import Stream, code_of, message_of, read, tokens_of


def taken(*events):
    stream = Stream()
    lines = [f"data: {each if isinstance(each, str) else json.dumps(each)}" for each in events]
    return stream, [stream.take(line) for line in lines]


def delta(**fields):
    return {"choices": [{"delta": fields}]}


def test_the_first_text_is_not_the_role():
    stream, text = taken(
        delta(role="assistant", content=""), delta(content="a"), delta(content="b"), "[DONE]"
    )
    assert text == [False, True, True, False]
    assert (stream.problem, stream.tokens) == ("", 2)


@pytest.mark.parametrize(
    "event",
    [{"choices": [{"text": "a"}]}, delta(reasoning_content="hm"), delta(tool_calls=[{"index": 0}])],
)
def test_text_is_of_either_api_and_of_what_a_model_thinks_or_calls(event):
    assert taken(event)[1] == [True]


def test_the_engine_counts_where_it_does():
    stream, _ = taken(delta(content="a b c"), {"choices": [], "usage": {"completion_tokens": 3}}, "[DONE]")
    assert stream.tokens == 3


def test_an_answer_without_its_end_is_broken_off():
    assert taken(delta(content="a"))[0].problem == "broken_off"
    assert Stream().problem == "broken_off"


def test_an_error_in_the_stream_is_the_problem():
    error = {"error": {"code": "engine_lost", "message": "it is gone"}}
    stream, _ = taken(delta(content="a"), error)
    assert (stream.problem, stream.message) == ("engine_lost", "it is gone")
    assert taken({"error": "odd"})[0].problem == "broken_off"


@pytest.mark.parametrize("line", ["", ": alive", "event: error", "data:", "data: [1]", "data: nonsense"])
def test_what_is_no_object_says_nothing(line):
    stream = Stream()
    assert not stream.take(line)
    assert (stream.pieces, stream.whole) == (0, False)


def test_errors_have_a_code_a_type_or_what_else_is_known():
    assert code_of({"error": {"code": 400, "type": "BadRequestError"}}, "x") == "400"
    assert code_of({"error": {"code": None, "type": "overloaded_error"}}, "x") == "overloaded_error"
    assert code_of(read("<html>"), "http_502") == "http_502"
    assert message_of({"error": {"message": "no"}}) == "no"
    assert tokens_of({"usage": {"completion_tokens": True}}) is None
