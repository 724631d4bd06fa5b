from __future__ import annotations

import pytest

from llmux.criu_images._messages import Message
from llmux.criu_images._messages_files import FILE_MISSING, LINK_MISSING, SIZE
from llmux.criu_images._messages_sockets import BIND_TAKEN
from llmux.criu_images._messages_tasks import TID_TAKEN

THREE = Message("file", "a {path} b {name} c", "", "")


def test_what_a_message_says_it_matches():
    said = SIZE.say(path="tmp/x", found=3, expected=4)
    assert said == "File tmp/x has bad size 3 (expect 4)"
    found = SIZE.match(said.encode())
    assert found is not None
    assert found.values == {"path": b"tmp/x", "found": b"3", "expected": b"4"}


def test_the_error_number_is_told_by_its_text():
    assert FILE_MISSING.say(path="tmp/x") == "Can't open file tmp/x on restore: No such file or directory"
    assert FILE_MISSING.match(b"Can't open file tmp/x on restore: Permission denied") is None
    found = FILE_MISSING.match(b"Can't open file a on restore: b on restore: No such file or directory")
    assert found is not None
    assert found.values["path"] == b"a on restore: b"
    assert found.errno == "ENOENT"


def test_a_negative_return_value_is_an_error_number_too():
    found = TID_TAKEN.match(b"Unable to create a thread: -17")
    assert found is not None
    assert found.errno == "EEXIST"
    assert TID_TAKEN.match(b"Unable to create a thread: -11") is None
    assert TID_TAKEN.say() == "Unable to create a thread: -17"


def test_a_hole_without_a_value_is_dots():
    assert BIND_TAKEN.say(name="/tmp/s") == (
        "unix: Can't bind id ... ino ... addr /tmp/s: Address already in use"
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"a x b y c", {"path": b"x", "name": b"y"}),
        (b"a x b y c c", {"path": b"x", "name": b"y c"}),
        (b"a \xff\n b  c: File exists", {"path": b"\xff\n", "name": b""}),
        (b"a x b", None),
        (b"a x c", None),
        (b"b x b y c", None),
        (b"a x b y c d", None),
        (b"", None),
    ],
)
def test_values_are_cut_out_of_any_bytes(text, values):
    found = THREE.match(text)
    assert (None if found is None else found.values) == values


def test_a_hole_for_a_number_takes_nothing_else():
    assert SIZE.match(b"File x has bad size three (expect 4)") is None


def test_two_paths_of_one_message():
    found = LINK_MISSING.match(b"Can't link dev/shm/link_remap.3 -> dev/shm/sem.x: No such file or directory")
    assert found is not None
    assert found.values == {"path": b"dev/shm/link_remap.3", "target": b"dev/shm/sem.x"}


def test_a_long_text_of_many_near_matches_takes_no_time_to_speak_of():
    assert THREE.match(b"a " + b" b " * 100_000) is None
