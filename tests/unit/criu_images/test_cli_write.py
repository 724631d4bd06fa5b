"""The commands' output and exit codes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from llmux.criu_images import _observe
from llmux.criu_images._capture import Subject, capture_subject, survey_place
from llmux.criu_images._cli import main
from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Pid
from llmux.criu_images._safefs import Tree

from .published import check


@pytest.fixture
def run(monkeypatch, capfd):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["llmux.criu_images", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code), *capfd.readouterr())

    return command


@pytest.fixture
def places(tmp_path):
    """Give a captured directory of images, an empty root, and the options that name root and journal."""
    images, there, here = (tmp_path / name for name in ("images", "there", "here"))
    for directory in (images, there, here):
        directory.mkdir()
    (there / "a\nlog").write_text("logged")
    inventory = Inventory(
        (PathReference(RawPath(b"/a\nlog"), PathKind.REGULAR, (), 6),), (), (), (), (), (), ()
    )
    with Tree(there) as tree:
        capture_subject(Subject(inventory, Pid(1), frozenset()), images, survey_place(tree, 0), None)
    return images, here, tmp_path / "journals/j"


def test_plan_rebuild_undo(run, places):
    images, here, journal = places
    code, out, _ = run("plan", images, "--root", here)
    assert code == 0
    assert out.startswith(
        "place file  /a\\nlog  (born after the container was created; missing here)\n1 action, 0 conflicts\n"
    )
    assert run("rebuild", images, "--root", here, "--journal", journal)[:2] == (0, out)
    assert (here / "a\nlog").read_text() == "logged"
    code, out, _ = run("undo", images, "--root", here, "--journal", journal, "--json")
    check("undo", out)
    assert (code, json.loads(out)) == (0, {"version": 1, "removed": ["/a\\nlog"], "left": []})


def test_conflicts_exit_with_3(run, places):
    images, here, journal = places
    (here / "a\nlog").write_text("another")
    code, out, _ = run("plan", images, "--root", here, "--json")
    assert code == 3
    check("plan", out)
    (conflict,) = json.loads(out)["conflicts"]
    assert conflict["subject"] == "/a\\nlog"
    assert conflict["criu_says"] == "File a\\nlog has bad size 7 (expect 6)"
    code, out, err = run("rebuild", images, "--root", here, "--journal", journal, "--json")
    assert code == 3
    check("plan", out)
    assert json.loads(out)["conflicts"] == [conflict]
    assert err.startswith("error: cannot restore here:")


def test_verify(run, places):
    images, *_ = places
    code, out, _ = run("verify", images, "--json")
    check("capture", out)
    assert (code, json.loads(out)["carried"]) == (0, 1)
    (images / "llmux/0").write_text("LOGGED")
    code, _, err = run("verify", images)
    assert code == 4
    assert "side file llmux/0" in err


def test_verify_warns_of_what_plan_refuses(run, places):
    images, here, _ = places
    code, quiet, _ = run("verify", images)
    assert (code, quiet.count("warning")) == (0, 0)
    images.chmod(0o777)
    said = f"{images}: every user may write to the checkpoint. Run `chmod o-w` on it"
    code, out, _ = run("verify", images)
    assert code == 0
    assert f"warning  {said}" in out
    code, out, _ = run("verify", images, "--json")
    (warning,) = json.loads(out)["warnings"]
    assert warning.startswith(said)
    code, out, _ = run("plan", images, "--root", here)
    assert code == 3
    assert f"conflict  {said}" in out
    assert out.endswith("1 action, 1 conflict\n")


@pytest.mark.parametrize("command", ["plan", "rebuild", "verify"])
def test_damaged_images_exit_with_4(run, places, command):
    images, *_ = places
    (images / "pages-1.img").write_bytes(b"x")
    code, out, err = run(command, images)
    assert (code, out) == (4, "")
    assert err.startswith("error: image pages-1.img: not in the manifest")


@pytest.mark.parametrize("command", ["plan", "rebuild", "undo", "verify"])
def test_no_manifest_exits_with_4(run, tmp_path, command):
    code, _, err = run(command, tmp_path)
    assert code == 4
    assert "no manifest" in err


def test_capture(maker, run, tmp_path):
    path = tmp_path / "log"
    path.write_text("logged")
    maker.whole(maker.reg(3, str(path), size=6), fds={5: 3})
    code, out, err = run("capture", maker.directory, "--container-started", "0")
    assert (code, err) == (0, "")
    assert f"carried  {path}  (" in out
    assert Path(maker.directory, "llmux-manifest.json").exists()
    assert Path(maker.directory, "llmux/0").exists()


def test_a_good_capture_is_replaced_only_on_request(maker, run, tmp_path):
    path = tmp_path / "log"
    path.write_text("logged")
    maker.whole(maker.reg(3, str(path), size=6), fds={5: 3})
    assert run("capture", maker.directory)[0] == 0
    path.write_text("LOGGED")
    code, out, err = run("capture", maker.directory)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {maker.directory}: this dump is captured already. ")
    assert "`capture --again`" in err
    side = Path(maker.directory, "llmux/0")
    assert side.read_text() == "logged"
    assert run("verify", maker.directory)[0] == 0
    assert run("capture", maker.directory, "--again")[0] == 0
    assert side.read_text() == "LOGGED"
    check("capture", run("capture", maker.directory, "--again", "--json")[1])


@pytest.mark.parametrize("damage", ["manifest", "images"])
def test_a_manifest_that_is_not_of_these_images_is_replaced(maker, run, damage):
    maker.whole()
    assert run("capture", maker.directory)[0] == 0
    if damage == "manifest":
        Path(maker.directory, "llmux-manifest.json").write_text("{}")
    else:
        Path(maker.directory, "pages-1.img").touch()
    assert run("verify", maker.directory)[0] == 4
    assert run("capture", maker.directory)[0] == 0
    assert run("verify", maker.directory)[0] == 0


def test_a_capture_after_the_trees_end_warns(maker, run):
    def dump_of(pid):
        maker.whole()
        maker.tree({"pid": pid, "ppid": 0, "pgid": pid, "sid": pid, "threads": [pid]})
        maker.task(pid, {})

    dump_of(os.getpid())
    assert "warning" not in run("capture", maker.directory)[1]
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    said = f"warning  the dump's root task {ended} did not exist any more at the capture: "
    dump_of(ended)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    assert said in run("capture", maker.directory)[1]  # a zombie
    os.waitpid(ended, 0)
    assert said in run("capture", maker.directory, "--again")[1]


def test_json_of_an_undo_that_leaves_something(run, places):
    images, here, journal = places
    options = (images, "--root", here, "--journal", journal, "--json")
    code, out, _ = run("rebuild", *options)
    check("plan", out)
    (here / "a\nlog").write_text("written since")
    code, out, _ = run("undo", *options)
    check("undo", out)
    assert (code, json.loads(out)["left"]) == (3, [{"path": "/a\\nlog", "why": "it was changed since"}])


def test_undo_that_leaves_something_exits_with_3(run, places):
    images, here, journal = places
    options = (images, "--root", here, "--journal", journal)
    assert run("rebuild", *options)[0] == 0
    (here / "a\nlog").write_text("written since")
    code, out, err = run("undo", *options)
    assert code == 3
    assert out == "left  /a\\nlog  (it was changed since)\n0 removed, 1 left\n"
    assert err.startswith("error: not taken back: /a\\nlog. It is yours from now on")
    assert not journal.exists()
    assert run("undo", *options)[:2] == (0, "0 removed, 0 left\n")
    assert (here / "a\nlog").read_text() == "written since"


def test_wrong_use_exits_with_2(run, tmp_path):
    assert run("plan", tmp_path / "none")[0] == 2
    assert run("plan")[0] == 2


@pytest.mark.parametrize("command", ["capture", "plan", "rebuild", "undo", "verify", "show", "graph"])
def test_each_command_tells_in_one_line_that_a_directory_is_no_dump(run, tmp_path, command):
    code, out, errors = run(command, tmp_path)
    assert (code, out) == (4, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1


def test_without_a_command_the_help_is_shown(run):
    code, out, errors = run()
    assert (code, out) == (2, "")
    assert errors.startswith("Usage: ")


def test_what_the_operating_system_refuses_is_no_traceback(run, places, monkeypatch):
    images, here, _ = places
    monkeypatch.setattr(_observe, "_PROC", here / "proc")
    code, _, errors = run("plan", images, "--root", here)
    assert (code, errors.count("\n")) == (2, 1)
    assert "No such file or directory" in errors
