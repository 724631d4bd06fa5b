"""Which objects are known, and which of a request's words name one."""

from __future__ import annotations

import pytest

from llmux.server import _homes
from llmux.server._homes import Home, Homes, Item

RESPONSE = Item("responses", "resp_1")


def test_what_was_made_is_found_until_it_is_forgotten():
    homes = Homes()
    homes.note(RESPONSE, Home("m", "m#2"))
    homes.note(RESPONSE, Home("other", "other"))
    assert homes.find(RESPONSE) == Home("m", "m#2")
    assert homes.find(Item("files", "resp_1")) is None
    homes.forget(RESPONSE)
    assert homes.find(RESPONSE) is None


def test_the_least_recently_used_is_forgotten_and_no_id_is_too_long():
    homes = Homes(most=2)
    first, second, third = (Item("files", name) for name in "abc")
    homes.note(first, Home("m", "m"))
    homes.note(second, Home("m", "m"))
    homes.find(first)
    homes.note(third, Home("m", "m"))
    homes.note(Item("files", "x" * 300), Home("m", "m"))
    assert [bool(homes.find(each)) for each in (first, second, third)] == [True, False, True]


def test_who_makes_the_most_loses_first():
    homes = Homes(most=3)
    homes.note(Item("files", "quiet"), Home("m", "m", "quiet"))
    for number in range(9):
        homes.note(Item("files", f"{number}"), Home("m", "m", "loud"))
    assert homes.find(Item("files", "quiet"))
    assert [number for number in range(9) if homes.find(Item("files", f"{number}"))] == [7, 8]


@pytest.mark.parametrize(
    ("path", "collection", "item", "removed"),
    [
        ("/v1/responses", "responses", None, None),
        ("/v1/responses/", "responses", None, None),
        ("/v1/responses/resp_1", None, RESPONSE, RESPONSE),
        ("/v1/responses/resp_1/cancel", None, RESPONSE, None),
        ("/v1/responses/input_tokens", None, None, None),
        ("/v1/videos/v_1/remix", "videos", Item("videos", "v_1"), None),
        ("/v1/chat/completions", None, None, None),
        ("/v1/models/m", None, None, None),
    ],
)
def test_paths(path, collection, item, removed):
    assert (_homes.collection_of(path), _homes.item_of(path), _homes.removed_by(path)) == (
        collection,
        item,
        removed,
    )


def test_references():
    fields = {
        "previous_response_id": "resp_1",
        "conversation": {"id": "conv_1"},
        "input_file_id": None,
        "input": "resp_2",
    }
    assert dict(_homes.references(fields)) == {
        "previous_response_id": RESPONSE,
        "conversation": Item("conversations", "conv_1"),
    }


def test_objects_named_anywhere_in_a_request():
    fields = {
        "previous_response_id": "resp_1",
        "input": [{"content": [{"type": "input_file", "file_id": "f1"}]}],
        "tools": [{"vector_store_ids": ["v1", 7], "container": {"type": "auto", "file_ids": ["f2"]}}],
        "metadata": {"file_id": "mine"},
    }
    named = {RESPONSE, Item("files", "f1"), Item("files", "f2"), Item("vector_stores", "v1")}
    assert set(_homes.named_within(fields)) == named
    deep: dict[str, object] = {"file_id": "f3"}
    for _ in range(100_000):
        deep = {"x": [deep]}
    assert list(_homes.named_within(deep)) == [Item("files", "f3")]
    assert list(_homes.may_become({"request_id": "resp_1", "container": {}})) == [RESPONSE]


def test_what_an_answer_tells_of():
    batch = {"id": "b", "output_file_id": "f1", "error_file_id": None}
    assert list(_homes.made("batches", batch)) == [Item("batches", "b"), Item("files", "f1")]
    assert list(_homes.files_of("uploads", {"id": "u", "file": {"id": "f2"}})) == [Item("files", "f2")]
    assert list(_homes.made("responses", {"id": 7, "file": {"id": "f2"}})) == []
    assert _homes.tells_of_files(Item("batches", "b"))
    assert not _homes.tells_of_files(RESPONSE)
    assert not _homes.tells_of_files(None)
