"""A report as a real terminal gets it."""

from __future__ import annotations

import os
import re
import sys
import termios

import pytest

LONG = "/srv/" + "".join(f"{number:03}-" for number in range(75))[:295]


def on_terminal(width, *arguments, **environment):
    """Run a command whose output is a pseudoterminal of this width; return what it wrote."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, width))
    command = [sys.executable, "-m", "llmux.criu_images", *map(str, arguments)]
    inherited = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    settings = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TERM": "xterm-256color"}
    pid = os.posix_spawn(
        sys.executable,
        command,
        inherited | settings | environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 1)],
    )
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # EIO: the other end is closed
        pass
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return written.decode().replace("\r\n", "\n")


@pytest.fixture
def directory(maker):
    maker.whole(maker.reg(3, LONG), maker.reg(4, "/a [red]b :smile:"), fds={0: 3, 1: 4})
    return maker.directory


@pytest.mark.parametrize("width", [60, 100, 400])
def test_a_long_path_is_folded_and_whole(directory, width):
    shown = on_terminal(width, "show", directory, "--kind", "file", NO_COLOR="1")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert max(map(len, lines)) <= width
    heading = next(at for at, line in enumerate(lines) if line.startswith("Regular files"))
    header, *rows = (line for line in lines[heading + 1 :] if "─" not in line and not line.startswith("and "))
    while "held by" not in header:  # A narrow terminal folds the heading too.
        header, *rows = rows
    start, end = header.index("path"), header.index("held by")
    column = "".join(row[start:end].strip() for row in rows)
    assert LONG in column


def test_it_is_coloured_and_what_looks_like_markup_is_not(directory):
    shown = on_terminal(200, "show", directory, "--kind", "file")
    assert "\x1b[36m" in shown
    assert "/a [red]b :smile:" in shown


def test_without_a_terminal_nothing_is_coloured_nor_folded(directory, capfd, monkeypatch):
    from llmux.criu_images._cli import main  # noqa: PLC0415

    monkeypatch.setattr(sys, "argv", ["llmux", "show", str(directory), "--kind", "file"])
    with pytest.raises(SystemExit):
        main()
    out = capfd.readouterr().out
    assert "\x1b" not in out
    assert f" {LONG} " in out


def test_a_table_of_thousands_is_written_plainly(maker):
    maker.whole(*(maker.reg(number, f"/{number}") for number in range(3, 2100)))
    shown = on_terminal(100, "show", maker.directory, "--kind", "file")
    assert "  /2099 " in shown
    assert "─" not in shown.split("Regular files")[1]
