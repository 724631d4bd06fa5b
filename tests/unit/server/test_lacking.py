"""No such call, or no such thing: as engines say it."""

from __future__ import annotations

import pytest

from llmux.server import _lacking


@pytest.mark.parametrize(
    ("status", "body", "lacks"),
    [
        (404, b'{"detail":"Not Found"}', True),
        (404, b'{"error":{"message":"File Not Found","type":"not_found_error","code":404}}', True),
        (404, b'{"error":{"message":"404: Not Found","type":"NotFoundError"}}', True),
        (404, b"404: Not Found", True),
        (404, b"<html>nothing here</html>", True),
        (404, b"", True),
        (405, b'{"detail":"Method Not Allowed"}', True),
        (501, b'{"error":{"message":"This server does not support embeddings"}}', True),
        (404, b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError"}}', False),
        (404, b'{"error":{"message":"Response with id \'resp_1\' not found."}}', False),
        (404, b'{"detail":"File abc not found"}', False),
        (404, b'{"object":"error","message":"no adapter x"}', False),
    ],
)
def test_an_engines_refusal(status, body, lacks):
    assert _lacking.lacks(status, body) is lacks


@pytest.mark.parametrize(
    ("status", "method", "path", "may"),
    [
        (404, "POST", "/v1/audio/speech", True),
        (405, "DELETE", "/v1/responses/resp_1", True),
        (501, "POST", "/rerank", True),
        (400, "POST", "/v1/audio/speech", False),
        (404, "GET", "/v1/nobodys", False),
        (405, "PUT", "/v1/chat/completions", False),
    ],
)
def test_whose_refusals_are_looked_at(status, method, path, may):
    assert _lacking.may_lack(status, method, path) is may


def test_an_engines_words_are_kept_short():
    assert _lacking.excerpt(b'{"error": {"message": "%s"}}' % (b"x" * 1000)) == "x" * 300
    assert _lacking.excerpt(b"<html>") == ""
