"""Tokens are what an answer says, in each API's words and however its bytes are cut; else an estimate."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmux.server.access.usage import UsageCount

CHAT = {"usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}}
MESSAGE = {"usage": {"input_tokens": 30, "output_tokens": 4}}
EMBEDDINGS = {"data": [0.5], "usage": {"prompt_tokens": 9, "total_tokens": 9}}
MESSAGE_STREAM = (
    b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}\n\n'
    b'event: message_delta\ndata: {"usage": {"output_tokens": 23}}\n\n'
)
CHAT_STREAM = (
    b'data: {"choices": [{}]}\n\ndata: {"choices": [], "usage": {"total_tokens": 40}}\n\ndata: [DONE]\n\n'
)


def count(*chunks, asked=0):
    made = UsageCount()
    for chunk in chunks:
        made.read(chunk)
    return made.tokens(asked)


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        (json.dumps(CHAT).encode(), 12),
        (json.dumps(MESSAGE).encode(), 34),
        (json.dumps(EMBEDDINGS, indent=1).encode(), 9),
        (MESSAGE_STREAM, 34),
        (CHAT_STREAM, 40),
    ],
)
def test_it_is_read_in_each_apis_words(answer, tokens):
    assert count(answer) == tokens
    assert count(*(answer[at : at + 1] for at in range(len(answer)))) == tokens


@given(st.text(), st.lists(st.integers(1, 200), max_size=5))
def test_what_a_model_writes_is_not_taken_for_its_usage(words, cuts):
    text = f'"total_tokens": 1, {words} "total_tokens":999999'
    answer = json.dumps({"content": text, **CHAT}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    chunks, at = [], 0
    for cut in cuts:
        chunks.append(answer[at : at + cut])
        at += cut
    assert count(*chunks, answer[at:]) == 12


def test_without_usage_it_is_estimated_from_sizes_and_events():
    assert count(b"x" * 400, asked=40) == 110
    assert count(b'data: {"a": "long and much longer"}\n\n' * 5, asked=0) == 5


def test_what_is_said_of_one_side_is_taken_and_the_other_estimated():
    assert count(b'data: {"usage": {"input_tokens": 11}}\n\n', b"data: {}\n\n", asked=4000) == 13


def test_of_an_answer_of_which_nothing_has_come_none_are_taken():
    assert count(asked=400) == 0


def test_every_event_of_a_long_stream_is_counted_once_however_it_is_cut():
    stream = b"data: {}\n\n" * 5000
    assert count(*(stream[at : at + 7] for at in range(0, len(stream), 7))) == 5000


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (json.dumps(CHAT).encode(), (7, 5)),
        (json.dumps(MESSAGE).encode(), (30, 4)),
        (json.dumps(EMBEDDINGS).encode(), (9, 0)),
        (MESSAGE_STREAM, (11, 23)),
        (MESSAGE_STREAM.replace(b"message_delta", b"x" * 20_000), (11, 23)),
        (b'"usage":{"completion_tokens":1}}\n\ndata: {"usage":{"completion_tokens":9}}', (0, 9)),
        (json.dumps({**CHAT, "prompt_logprobs": ["x" * 20_000]}).encode(), (7, 5)),
        (b'"content":"\\"prompt_tokens\\": 99"}', None),
        (b'"prompt_tokens": "many"', None),
        (b'"prompt_tokens": 1234567890123', None),
        (CHAT_STREAM, None),
        (b"", None),
    ],
)
def test_what_it_says_of_each_side_is_told_apart(answer, told):
    for size in (1, 100, 3000, len(answer) or 1):
        made = UsageCount()
        for at in range(0, len(answer), size):
            made.read(answer[at : at + size])
        assert made.told() == told
