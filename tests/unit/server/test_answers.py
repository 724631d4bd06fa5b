"""Answers on their way back, in whatever pieces they come."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmux.server._answers import ObjectSeen, OnlySome, RenamedEvents, RenamedJson, WholeEvents


def through(stage, data: bytes, cuts=()) -> bytes:
    ends = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(ends)]
    return b"".join(map(stage.feed, pieces)) + stage.end()


@pytest.mark.parametrize(
    ("answer", "renamed"),
    [
        (b'{"model": "m", "x": {"model": "m"}}', b'{"model":"alias","x":{"model":"m"}}'),
        (b'{"model": "other"}', b'{"model": "other"}'),
        (b"[1, 2]", b"[1, 2]"),
        (b"no json", b"no json"),
        (b'{"message": {"model": "m"}}', b'{"message":{"model":"alias"}}'),
    ],
)
def test_an_answer_shows_the_name_that_was_asked_by(answer, renamed):
    assert through(RenamedJson("m", "alias"), answer, (3,)) == renamed


EVENTS = (
    b'event: response.created\ndata: {"type": "response.created", "response": {"id": "resp_1", "model": "m"}}\n\n'
    b": a comment\r\n\r\n"
    b'data: {"choices": [{"text": "\\"model\\": \\"m\\""}], "model": "m"}\r\n\r\n'
    b'data:{"message": {"model": "m"}}\n\n'
    b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(min_value=0)))
def test_so_does_each_event_of_a_stream(cuts):
    lines = through(RenamedEvents("m", "alias"), EVENTS, cuts).splitlines()
    data = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    assert [each.get("model", next(iter(each.values()))) for each in data[1:]] == [
        "alias",
        {"model": "alias"},
    ]
    assert data[0]["response"] == {"id": "resp_1", "model": "alias"}
    assert data[1]["choices"] == [{"text": '"model": "m"'}]
    assert b": a comment" in lines
    assert lines[-2] == b"data: [DONE]"


@given(st.lists(st.integers(min_value=0)))
def test_events_are_sent_when_they_are_whole(cuts):
    stage, sent = WholeEvents(), b""
    ends = sorted({0, len(EVENTS), *(cut % (len(EVENTS) + 1) for cut in cuts)})
    for start, end in pairwise(ends):
        sent += stage.feed(EVENTS[start:end])
        assert sent == EVENTS[: len(sent)]
        assert sent == b"" or sent.endswith((b"\n\n", b"\r\n\r\n"))
    assert sent == EVENTS


def test_an_event_is_not_waited_for_that_is_too_long():
    stage, piece = WholeEvents(), b"x" * 65_536
    sent = b"".join(stage.feed(piece) for _ in range(40))
    assert len(sent) >= len(piece) * 24
    assert sent + stage.end() == piece * 40


@given(st.lists(st.integers(min_value=0)))
def test_an_object_is_seen_and_the_answer_is_as_it_was(cuts):
    for answer, events in ((b'{"id": "resp_1", "metadata": {"id": "x"}}', False), (EVENTS, True)):
        seen = []
        assert through(ObjectSeen(seen.append, events=events), answer, cuts) == answer
        assert [told["id"] for told in seen] == ["resp_1"]


@pytest.mark.parametrize("answer", [b"[]", b"no", b"x" * (5 << 20)])
def test_an_answer_without_an_object_tells_none(answer):
    seen = []
    assert through(ObjectSeen(seen.append, events=False), answer, (4 << 20,)) == answer
    assert seen == []


LISTED = b'{"object": "list", "data": [{"id": "a"}, {"id": "b"}, 7, {"id": "c"}], "first_id": "a", "has_more": true}'


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (
            LISTED,
            {"object": "list", "data": [{"id": "b"}], "first_id": "b", "last_id": "b", "has_more": True},
        ),
        (b'{"data": {"a": 1}, "secret": "a"}', {"object": "list", "data": [], "has_more": False}),
        (b"a\nb\nc", {"object": "list", "data": [], "has_more": False}),
    ],
)
def test_of_a_list_a_client_sees_what_it_may(answer, seen):
    assert json.loads(through(OnlySome("b".__eq__), answer, (5,))) == seen


def test_where_nothing_was_answered_there_is_no_list():
    assert through(OnlySome("b".__eq__), b"") == b""
