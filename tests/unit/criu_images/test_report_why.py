from __future__ import annotations

import json

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._paths import RawPath
from llmux.criu_images._report_why import render_why, render_why_json
from llmux.criu_images._why import explain_path


@pytest.fixture
def asked(maker):
    maker.busy()
    dump = read_dump(maker.directory)
    inventory = take_inventory(dump)

    def ask(path, ours=None):
        why = explain_path(dump, inventory, RawPath(path))
        return render_why(dump, inventory, why, ours), json.loads(render_why_json(why, ours))

    return ask


def test_the_text_and_the_json_of_a_file(asked):
    text, data = asked(b"/tmp/a\nb", ("carried",))
    assert text.splitlines()[:4] == [
        "/tmp/a\\nb",
        "  regular file",
        "    comm7(7)  fd 0  O_WRONLY|O_APPEND, at byte 0",
        "    comm7(7)  fd 1  O_WRONLY|O_APPEND, at byte 0",
    ]
    assert text.splitlines()[-1] == "  llmux: carried"
    assert (data["version"], data["path"], data["rebuild"]) == (1, "/tmp/a\\nb", ["carried"])
    assert data["references"][0]["uses"][1] == {
        "pid": 7,
        "how": "fd 1",
        "details": "O_WRONLY|O_APPEND, at byte 0",
    }


def test_without_a_manifest_that_is_said(asked):
    text, data = asked(b"/fifo")
    assert "no manifest" in text
    assert data["rebuild"] is None


def test_with_a_manifest_that_does_not_name_it_that_is_said(asked):
    assert "  llmux: nothing: the manifest does not name it" in asked(b"/fifo", ())[0]


def test_a_directory_counts_what_is_below(asked):
    text, data = asked(b"/dev")
    assert "  on the way to 1 link remap, 1 name restored by link" in text
    assert data["below"] == ["/dev/shm/link_remap.5", "/dev/shm/sem.x"]


def test_nobody_refers_to_it(asked):
    text, data = asked(b"/dev/shm/sem.y", ())
    assert "nothing in the dump refers to it" in text
    assert "    /dev/shm/sem.x" in text.splitlines()
    assert "llmux" not in text
    assert (data["references"], data["nearest"][0]) == ([], "/dev/shm/sem.x")
