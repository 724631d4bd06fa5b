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


@pytest.mark.parametrize(
    ("path", "collection", "item", "removed"),
    [
        ("/v1/responses", "responses", None, None),
        ("/v1/responses/", "responses", None, None),
        ("/v1/responses/resp_1", None, RESPONSE, RESPONSE),
        ("/v1/responses/resp_1/cancel", None, RESPONSE, None),
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
