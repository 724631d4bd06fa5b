"""The last words in a log."""

from __future__ import annotations

from llmux.server._log_tail import last_lines, size_of


def test_the_last_lines_of_this_life_alone(tmp_path):
    log = tmp_path / "m.log"
    log.write_text("an earlier life\n")
    began = size_of(log)
    with log.open("a") as file:
        file.write("one\n\n  two  \nthree\n")
    assert last_lines(log, began) == "one | two | three"
    assert last_lines(log, began, count=1) == "three"


def test_a_long_log_is_not_read_whole(tmp_path):
    log = tmp_path / "m.log"
    log.write_bytes(b"\xff" * 100_000 + b"\nend\n")
    assert len(last_lines(log)) < 5000
    assert last_lines(log).endswith("end")


def test_a_log_that_was_cut_shorter_is_read_from_its_beginning(tmp_path):
    log = tmp_path / "m.log"
    log.write_text("new\n")
    assert last_lines(log, since=1000) == "new"


def test_no_log_has_no_last_words(tmp_path):
    assert last_lines(tmp_path / "none") == ""
    assert size_of(tmp_path / "none") == 0
