"""The page of the states is what the machine does, and the machine has no dead ends."""

from __future__ import annotations

from typing import get_args

import states_page

from llmux.server._model import Event, State, name_of


def test_the_page_is_made_from_the_machine():
    assert states_page.PAGE.read_text() == states_page.page(), "run `make states`"
    assert states_page.PICTURE.read_text() == states_page.picture(), "run `make states`"


def test_every_state_and_every_event_is_asked_for():
    assert {type(state) for state in states_page.STATES} == set(get_args(State))
    assert {type(event) for event, _ in states_page._WORDS} == set(get_args(Event))


def test_every_state_can_be_reached_and_from_each_there_is_a_way_to_serve():
    moves = {(before, after) for before, _, after in states_page.moves()}
    names = {name_of(state) for state in states_page.STATES}
    assert reachable("not_started", moves) == names
    assert all("running" in reachable(name, moves) for name in names)


def reachable(start, moves):
    found, edge = {start}, {start}
    while edge:
        edge = {after for before, after in moves if before in edge} - found
        found |= edge
    return found
