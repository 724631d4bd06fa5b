"""`finish`, as people call it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmux.criu_images import _cli_finish
from llmux.criu_images._capture import Subject, capture_subject, survey_place
from llmux.criu_images._cli import cli
from llmux.criu_images._finish import Finished
from llmux.criu_images._hold import Held
from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._paths import RawPath
from llmux.criu_images._rebuild import rebuild
from llmux.criu_images._records import Pid
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import ExitCode

from .published import check


@pytest.fixture
def rebuilt(tmp_path):
    images, journal, path = tmp_path / "images", tmp_path / "journals" / "one.json", tmp_path / "app.log"
    images.mkdir()
    path.write_text("logged")
    inventory = Inventory(
        (PathReference(RawPath(os.fsencode(path)), PathKind.REGULAR, (), 6),), (), (), (), (), (), ()
    )
    with Tree(Path("/")) as tree:
        capture_subject(Subject(inventory, Pid(1), frozenset()), images, survey_place(tree, 0), None)
    path.unlink()
    rebuild(images, journal=journal)
    return path, ["finish", str(images), "--journal", str(journal)]


def test_it_lists_what_remains(rebuilt):
    path, argv = rebuilt
    done = CliRunner().invoke(cli, argv)
    assert (done.exit_code, done.output) == (0, f"remains  {path}\n1 path made for the restore remains\n")
    assert CliRunner().invoke(cli, argv).output == "0 paths made for the restore remain\n"


def test_json(rebuilt):
    path, argv = rebuilt
    out = CliRunner().invoke(cli, [*argv, "--json"]).output
    check("finish", out)
    assert json.loads(out) == {
        "version": 1,
        "remaining": [str(path)],
        "held": [],
        "left": "",
    }


def test_without_a_held_socket_no_program_is_started(rebuilt):
    done = CliRunner().invoke(cli, [*rebuilt[1], "--", "true"])
    assert done.exit_code == ExitCode.WRONG_USE
    assert "no socket is held, so true was not started; the restore is finished" in done.output


def test_what_was_sent_is_shown(rebuilt, monkeypatch):
    held = Held(RawPath(b"/dev/log"), 3, 5000, (b"<13>one\x00", b"two\n", bytes(4000)), 0, 0)
    monkeypatch.setattr(
        _cli_finish, "finish_restore", lambda *_, **__: Finished((), (held,), "the restored tree ended")
    )
    assert CliRunner().invoke(cli, rebuilt[1]).output.splitlines() == [
        "held  /dev/log  3 messages, 5000 bytes",
        "  <13>one\\x00",
        "  two\\n",
        "The holder had left by itself: the restored tree ended",
        "0 paths made for the restore remain",
    ]
    check("finish", CliRunner().invoke(cli, [*rebuilt[1], "--json"]).output)
