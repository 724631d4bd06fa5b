"""Which of what llmux tells belongs to which of the requests that needed a switch."""

from __future__ import annotations

from llmux.server.bench.figures import Asked
from llmux.server.bench.switches import Moves, Switch, Told, attributed, switch_figures


def request(name, model, *between):
    return [
        Told("request_queued", model, request=name),
        *between,
        Told("request_admitted", model, request=name),
        Told("request_finished", model, request=name),
    ]


def slept(model, seconds):
    return Told("sleep_done", model, seconds)


def woke(model, seconds):
    return Told("wake_done", model, seconds)


def test_a_requests_moves_are_those_that_it_waited_for():
    told = [
        slept("a", 9.0),  # before anybody asked
        *request("1", "a", woke("a", 2.0)),
        *request("2", "b", slept("a", 0.5), slept("c", 0.75), woke("c", 8.0), woke("b", 1.5)),
        slept("b", 7.0),
        *request("3", "b"),
    ]
    assert attributed(["a", "b", "b"], told) == (Moves(None, 2.0), Moves(0.75, 1.5), Moves())


def test_one_that_is_refused_takes_nothing_from_the_next():
    told = [
        Told("request_queued", "a", request="1"),
        Told("request_finished", "a", request="1"),
        Told("request_finished", "a", request="2"),
        *request("3", "a", woke("a", 2.0)),
    ]
    assert attributed(["a", "a", "a"], told) == (Moves(), Moves(), Moves(None, 2.0))


def test_what_is_not_told_yet_is_not_known():
    assert attributed(["a"], [Told("request_queued", "a", request="1")]) == (None,)
    assert attributed(["a"], []) == (None,)


def test_what_is_neither_sleep_nor_wake_is_the_rest():
    asked = Asked("a", 0.0, 4.0, first_token=3.5, queued=3.0, wake="warm")
    assert Switch(asked, None, Moves(0.5, 2.0)).rest == 0.5
    assert Switch(asked, None, Moves(0.5, 9.0)).rest == 0.0
    assert Switch(asked).rest is None
    assert not Switch(asked).found_awake
    assert Switch(asked, None, Moves()).found_awake


def test_only_those_that_were_answered_and_switched_are_measured():
    asked = Asked("a", 0.0, 4.0, first_token=3.5, queued=3.0, wake="restored")
    failed = Asked("a", 0.0, 9.0, problem="no_room", message="none")
    told = switch_figures(
        [Switch(asked, 0.25, Moves(0.5, 2.0)), Switch(asked, None, Moves()), Switch(failed, None, Moves(1.0))]
    )
    assert (told.requests, told.switched, told.errors, told.wakes) == (3, 1, {"no_room": 1}, {"restored": 2})
    assert told.messages == {"no_room": "none"}
    assert (told.slept.most, told.sleep.most, told.wake.most, told.rest.most) == (0.25, 0.5, 2.0, 0.5)
    assert told.queued.count == 2
