"""llmux's own latest lines."""

from __future__ import annotations

import logging

from llmux.server import _log_ring
from llmux.server._log_ring import LogRing


def record(text, *args):
    return logging.LogRecord("n", logging.INFO, "f", 1, text, args, None)


def ring_of(count):
    ring = LogRing(logging.Formatter("%(message)s"))
    for number in range(count):
        ring.handle(record("line %d", number))
    return ring


def test_the_end_of_it():
    ring = ring_of(3)
    assert ring.last(2) == ("line 1", "line 2")
    assert ring.last(9) == ("line 0", "line 1", "line 2")
    assert ring.last(0) == ()


def test_what_is_new_since():
    ring = ring_of(3)
    assert ring.since(1) == (("line 1", "line 2"), 3)
    assert ring.since(3) == ((), 3)


def test_it_is_bounded_in_lines_and_length(monkeypatch):
    monkeypatch.setattr(_log_ring, "KEPT", 2)
    ring = ring_of(5)
    assert ring.since(0) == (("line 3", "line 4"), 5)
    ring.handle(record("x" * 100_000))
    assert len(ring.last(1)[0]) == 8192


def test_a_line_that_cannot_be_written_stops_nobody(capsys):
    ring = ring_of(0)
    ring.handle(record("%d", "no number"))
    assert ring.last(1) == ()
    assert "Logging error" in capsys.readouterr().err


def test_colours_are_for_the_terminal():
    ring = LogRing(logging.Formatter("\x1b[1m%(levelname)s\x1b[0m %(message)s"))
    ring.handle(record("told"))
    assert ring.last(1) == ("INFO told",)
