"""The last words in a log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmux.server._log_tail import LogFile, last_lines, size_of


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


def test_somebody_reads_along_whatever_becomes_of_the_file(tmp_path):
    path = tmp_path / "log"
    path.write_text("one\ntwo\nthree")
    log = LogFile(path)
    assert log.tail(2) == b"two\nthree"
    assert log.more() == b""
    with path.open("a") as file:
        file.write(" and a half\n")
    assert log.more() == b" and a half\n"
    path.write_text("cut\n")
    assert log.more() == b"cut\n"
    path.unlink()
    assert log.more() == b""
    (tmp_path / "other").write_text("another file of the same name, and longer\n")
    (tmp_path / "other").rename(path)
    assert log.more() == b"another file of the same name, and longer\n"


def test_a_long_log_is_read_from_its_end_and_by_whole_lines(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"%07d\n" % number for number in range(200_000)))
    found = LogFile(path).tail(10**6)
    assert found.endswith(b"0199999\n")
    assert len(found) <= 1 << 20
    assert len(found) % 8 == 0


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to, lambda log, _: os.mkfifo(log)])
def test_nothing_is_read_through_a_link_or_out_of_a_pipe(tmp_path, make):
    secret, log = tmp_path / "secret", tmp_path / "m.log"
    secret.write_text("secret\n")
    make(log, secret)
    assert last_lines(log) == ""
    with pytest.raises(OSError, match=r"one name|symbolic links"):
        LogFile(log).tail(10)
    assert LogFile(log).more() == b""
