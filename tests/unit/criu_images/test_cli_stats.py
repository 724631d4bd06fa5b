from __future__ import annotations

import json
import sys

import pytest

from llmux.criu_images._cli import main

from .live import IMAGES
from .published import check


@pytest.fixture
def run(monkeypatch, capfd):
    def command(*arguments, name="llmux.criu_images"):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capfd.readouterr())

    return command


def test_stats(run):
    code, out, err = run("stats", IMAGES / "inet")
    assert (code, err) == (0, "")
    assert out.startswith("Dump (")
    assert json.loads(run("stats", IMAGES / "inet", "--json")[1])["version"] == 1


def test_what_the_capture_took_is_in_the_manifest(run, maker, tmp_path):
    maker.whole()
    assert run("capture", maker.directory, "--container-started", "0")[0] == 0
    out = run("stats", maker.directory)[1]
    assert "Capture (" in out
    written = run("stats", maker.directory, "--json")[1]
    check("stats", written)
    cost = json.loads(written)["capture"]
    assert cost["microseconds"] > 0
    assert cost["data_bytes"] <= cost["carried_bytes"]


def test_diff_of_programs_with_other_pids(run):
    assert run("diff", IMAGES / "tasks", IMAGES / "tasks", "--ignore-pids")[:2] == (0, "no difference\n")


@pytest.mark.parametrize("command", ["stats", "diff"])
def test_what_is_no_dump_is_4(run, tmp_path, command):
    code, out, err = run(command, *[tmp_path] * (1 if command == "stats" else 2))
    assert (code, out) == (4, "")
    assert err.count("\n") == 1


def test_diff_exits_with_3_where_there_is_one(run):
    assert run("diff", IMAGES / "inet", IMAGES / "inet")[:2] == (0, "no difference\n")
    code, out, _ = run("diff", IMAGES / "inet", IMAGES / "sysv", "--json")
    assert code == 3
    assert json.loads(out)["changes"]


def test_the_script_completes_its_commands(run, monkeypatch):
    monkeypatch.setenv("_LLMUX_CRIU_IMAGES_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "llmux-criu-images sh")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert "plain,show" in run(name="/usr/bin/llmux-criu-images")[1]
