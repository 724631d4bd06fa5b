"""What moves take: guessed until they are measured."""

from __future__ import annotations

from llmux.server._model import Process
from llmux.server._takes import Takes, part_of, sleep_of, takes, wake_of
from llmux.server.scheduling.measured import Measured


def test_what_was_not_measured_is_guessed():
    assert takes(Measured(), "m") == Takes()


def test_what_was_measured_replaces_the_guess_of_that_move_alone():
    measured = Measured().seen("m", wake_of(Process.CHECKPOINT), 1.5).seen("m", sleep_of(Process.STOP), 0.5)
    found = takes(measured, "m")
    assert 1.5 < found.wake[Process.CHECKPOINT] < 3
    assert 0.5 < found.sleep[Process.STOP] < 1
    assert found.wake[Process.STOP] == Takes().wake[Process.STOP]
    assert takes(measured, "other") == Takes()


def test_phases_are_what_they_take_in_the_mean_and_nothing_where_they_were_never_seen():
    dump = part_of(sleep_of(Process.CHECKPOINT), "dump")
    measured = Measured().seen("m", dump, 2.0).seen("m", sleep_of(Process.CHECKPOINT), 3.0)
    assert takes(measured, "m").parts == {dump: 2.0}
    assert takes(measured, "other").parts == {}
