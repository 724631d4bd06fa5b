"""Berths: made, written, found again while somebody holds them, removed when nobody does, never believed where others write."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from llmux.server import _berth
from llmux.server._berth import Record, Task
from llmux.server._effect_errors import BerthRefused
from llmux.server.cuda.devices import Devices, Gpu

RECORD = Record(name="m", instance="here:1", home="pid:[1]", command="sha256:0", port=8001, log="/m.log")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return _berth.root_of(tmp_path / "run")


def test_one_that_is_held_is_found_with_what_was_last_noted(root):
    berth = _berth.make(root, RECORD)
    left = Devices((Gpu("GPU-1", "H100"),), "0", {"GPU-1": 5})
    later = RECORD.model_copy(
        update={"doing": "suspended", "init": Task(pid=7, start=8), "devices": left, "visible": "0"}
    )
    berth.note(later)
    (found,) = _berth.left(root)
    assert (found.record, found.directory) == (later, berth.directory)
    assert root.stat().st_mode & 0o777 == berth.directory.stat().st_mode & 0o777 == 0o700
    berth.remove()
    assert _berth.left(root) == ()
    assert not root.exists()


def test_its_socket_can_be_listened_at_through_what_the_init_inherits(root):
    berth = _berth.make(root, RECORD)
    listener, lock = berth.fds
    held = os.dup(lock)
    with socket.socket(fileno=os.dup(listener)) as inherited:
        berth.handed_on()
        inherited.listen()
        assert len(_berth.left(root)) == 1
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(berth.socket))
    os.close(held)
    assert _berth.left(root) == ()


def test_what_nobody_holds_any_more_is_removed(root):
    _berth.make(root, RECORD).handed_on()
    assert _berth.left(root) == ()
    assert not root.exists()


@pytest.mark.parametrize("text", ["", "{", '{"version": 2}', "[]"])
def test_a_record_that_cannot_be_read_is_none(root, text):
    berth = _berth.make(root, RECORD)
    (berth.directory / "record.json").write_text(text)
    (found,) = _berth.left(root)
    assert found.record is None
    berth.remove()


def test_fields_of_a_later_llmux_are_no_fault():
    text = RECORD.model_dump_json().replace("{", '{"flavour": "new", ', 1)
    assert Record.model_validate_json(text) == RECORD


def test_what_cannot_be_noted_leaves_nothing_that_says_otherwise(root):
    berth = _berth.make(root, RECORD)
    (berth.directory / "record.json.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        berth.note(RECORD)
    assert not (berth.directory / "record.json").exists()
    berth.remove()


def spoil(root: Path, how: str) -> None:
    root.mkdir(mode=0o700, parents=True)
    match how:
        case "others may look into it":
            root.chmod(0o750)
        case "others may write beside it":
            root.parent.chmod(0o777)
        case "a link":
            root.rmdir()
            root.symlink_to(root.parent.parent)


@pytest.mark.parametrize("how", ["others may look into it", "others may write beside it", "a link"])
def test_a_place_that_others_could_have_laid_out_is_refused(root, how):
    spoil(root, how)
    with pytest.raises(BerthRefused):
        _berth.left(root)
    with pytest.raises(BerthRefused):
        _berth.make(root, RECORD)
