import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from llmux_setup import shell
from llmux_setup.shell import SetupError, exclusively, hand_over, output, run, succeeds


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shell, "LOG", tmp_path / "logs" / "setup.log")
    return tmp_path / "logs" / "setup.log"


def test_a_failed_command_names_itself_its_last_lines_its_log_and_what_to_do(log: Path) -> None:
    with pytest.raises(SetupError) as caught:
        run("sh", "-c", "echo one; echo two >&2; exit 3", hint="mend it")
    message = str(caught.value)
    assert "ended with 3" in message
    assert "one\ntwo" in message
    assert "What to do: mend it" in message
    assert str(log) in message
    assert log.read_text().endswith("one\ntwo\n")


def test_a_command_that_says_nothing_in_time_is_ended() -> None:
    begin = time.monotonic()
    with pytest.raises(SetupError):
        run("sleep", "60", timeout=0.2)
    assert time.monotonic() - begin < 30


def test_a_command_that_speaks_in_time_may_take_longer() -> None:
    run("sh", "-c", "echo here; sleep 0.6; echo done", timeout=0.3)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("two  words", "two words"),
        ("word " * 21 + "again", "word " * 21 + "again"),
        ("word " * 21 + "half-of-this-does-not-fit", "word " * 21 + "…"),
        ("/" + "x" * 200, "/" + "x" * 108 + "…"),
    ],
)
def test_a_long_line_of_progress_is_cut_between_words(
    said: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shell, "_PROGRESS_EVERY", -1)
    run("echo", said)
    assert capsys.readouterr().out == f"       0 s  {shown}\n"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(SetupError, match="no-such-program is not installed"):
        run("no-such-program")
    assert not succeeds("no-such-program")


def test_output_keeps_all_but_the_last_line_end() -> None:
    assert output("printf", "a\\n\\nb\\n") == "a\n\nb"


def test_output_says_what_the_command_said() -> None:
    with pytest.raises(SetupError, match="sorry"):
        output("sh", "-c", "echo sorry >&2; false")


@pytest.mark.parametrize(
    ("program", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM)],
)
def test_the_handed_over_command_gives_the_exit_code(program: str, code: int) -> None:
    assert hand_over(["sh", "-c", program], {"PATH": "/usr/bin:/bin"}) == code


def test_a_termination_reaches_the_handed_over_command() -> None:
    # The command asks its parent, this process, to end, and must be the one that does.
    program = "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    assert hand_over([sys.executable, "-c", program], {}) == 128 + signal.SIGTERM


def test_the_second_of_two_set_ups_waits_for_the_first(tmp_path: Path) -> None:
    lock, done = tmp_path / "lock", []
    with exclusively(lock):
        second = threading.Thread(target=_append_exclusively, args=(lock, done))
        second.start()
        second.join(0.2)
        assert done == []
    second.join(10)
    assert done == ["second"]


def _append_exclusively(lock: Path, done: list[str]) -> None:
    with exclusively(lock):
        done.append("second")
