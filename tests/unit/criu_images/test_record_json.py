from __future__ import annotations

import json

import pytest

from llmux.criu_images._enums import RemapType
from llmux.criu_images._ids import FileId
from llmux.criu_images._record_json import record_json, record_object, write_numbers
from llmux.criu_images._records import EpollTarget, Remap
from llmux.criu_images._records_files import Epoll


def test_names_members_and_numbers_without_a_name():
    assert record_json(Remap(FileId(1), 2, RemapType.GHOST)) == {
        "original": 1,
        "remap_id": 2,
        "type": "ghost",
    }
    assert record_json((b"/a\n", True, None)) == ["/a\\n", True, None]


def test_records_within_records():
    epoll = Epoll(FileId(3), 0, (EpollTarget(4, 5, 6),))
    assert record_object(epoll, pid=7) == {
        "pid": 7,
        "id": 3,
        "flags": 0,
        "targets": [{"fd": 4, "events": 5, "data": 6, "file": None}],
    }


def test_what_is_no_record_is_refused():
    with pytest.raises(TypeError, match="object is no record"):
        record_json(object())


def test_objects_of_numbers_are_those_that_json_would_write():
    written = write_numbers(("fd", "file"), [(3, 4), (5, 1 << 60)])
    assert list(written.texts) == [json.dumps({"fd": 3, "file": 4}), json.dumps({"fd": 5, "file": 1 << 60})]
