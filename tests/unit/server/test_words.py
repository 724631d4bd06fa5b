"""What people are told: each name has its words, and the page and the terminal have the same."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import get_args, get_type_hints

import pytest

from llmux.server import _words
from llmux.server._model import Process, WakeKind, Weights
from llmux.server.control._answers import CheckpointEntry, StateName
from llmux.server.control._reckoning import IN_ORDER

TABLES = ("STATES", "PHASES", "WEIGHTS", "PROCESS", "WAKES", "CHECKPOINTS", "USES")
PAGE = (files("llmux.server") / "page" / "words.js").read_text()


def of_page(table: str) -> dict[str, str]:
    """Return the table that the page has under this name."""
    (inside,) = re.findall(rf"^export const {table} = \{{(.*?)\}};$", PAGE, re.DOTALL | re.MULTILINE)
    return dict(re.findall(r'(\w+): "([^"]*)"', inside))


@pytest.mark.parametrize("table", TABLES)
def test_the_page_has_the_same_words(table):
    assert of_page(table) == getattr(_words, table)


@pytest.mark.parametrize("sentence", ["DRAINED", "MANUAL", "NOT_TOLD"])
def test_the_page_has_the_same_sentences(sentence):
    assert f'export const {sentence} = "{getattr(_words, sentence)}";' in PAGE


def test_everything_that_llmux_tells_of_has_its_words():
    entry = get_type_hints(CheckpointEntry)
    assert set(_words.STATES) == set(StateName)
    assert set(_words.PHASES) == {*IN_ORDER, "waiting"}
    assert (set(_words.WEIGHTS), set(_words.PROCESS)) == (set(Weights), set(Process))
    assert set(_words.WAKES) == set(WakeKind)
    assert set(_words.CHECKPOINTS) == set(get_args(entry["kind"]))
    assert set(_words.USES) == set(get_args(entry["use"]))


def test_names_without_words_speak_for_themselves():
    assert (_words.state("half_awake"), _words.phase("going_to_sleep"), _words.phase("new_one")) == (
        "half awake",
        "going to sleep",
        "new one",
    )
    assert _words.wake("by_magic") == "by magic"
    assert _words.resource("gpu_memory:0") == "gpu memory 0"


def test_what_a_sleep_keeps_is_said_of_both_unless_nothing_is_kept():
    assert _words.depth("discard", "checkpoint") == "weights dropped, process on disk"
    assert _words.depth("discard", "stop") == "process ended"


@pytest.mark.parametrize(
    ("seconds", "taken", "gone_on"),
    [
        (0.126, "0.13 s", "0 s"),
        (9.87, "9.9 s", "9 s"),
        (119.4, "119 s", "119 s"),
        (121, "2 min", "2 min"),
        (7300, "2 h", "2 h"),
        (200_000, "2 days", "2 days"),
        (-1.0, "-1.00 s", "0 s"),
    ],
)
def test_times_are_in_the_unit_that_says_most(seconds, taken, gone_on):
    assert (_words.duration(seconds), _words.age(seconds)) == (taken, gone_on)
