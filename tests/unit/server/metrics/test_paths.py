"""Paths fall into the groups that are known, and no client makes up another."""

from __future__ import annotations

import pytest

from llmux.server.metrics._paths import GROUPS, OTHER, group_of


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/v1/chat/completions", "chat/completions"),
        ("/v1/completions", "completions"),
        ("/v1/responses/resp_1/cancel", "responses"),
        ("/v1/messages", "messages"),
        ("/v1/messages/count_tokens", "messages/count_tokens"),
        ("/v2/rerank", "rerank"),
        ("/tokenize", "tokenize"),
        ("/v1/files/file-1/content", "files"),
        ("/v1/chat", OTHER),
        ("/v1", OTHER),
        ("/", OTHER),
        ("/v1/made/up", OTHER),
    ],
)
def test_a_path_is_of_the_longest_group_that_it_lies_in(path, group):
    assert group_of(path) == group
    assert group in {*GROUPS, OTHER}
