from __future__ import annotations

import pytest

from llmux.criu_images._paths import escape, unescape


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/tmp/log", "/tmp/log"),
        (b"/a b", "/a b"),
        (b" /a ", "\\x20/a\\x20"),
        (b" ", "\\x20"),
        (b"/a\\b", "/a\\\\b"),
        (b"/a\nb", "/a\\nb"),
        (b"/a\tb", "/a\\x09b"),
        (b"/\xff\xfe", "/\\xff\\xfe"),
        (b"\0abstract", "\\x00abstract"),
        ("/é/雪".encode(), "/é/雪"),
        ("/\u202e".encode(), "/\\xe2\\x80\\xae"),
        (b"\x1b[31m", "\\x1b[31m"),
    ],
)
def test_escape_and_back(path, text):
    assert escape(path) == text
    assert unescape(text) == path


@pytest.mark.parametrize("text", ["\\", "\\t", "\\x4", "\\xZZ", "a\\"])
def test_what_escape_never_writes_is_refused(text):
    with pytest.raises(ValueError, match="a backslash that starts no escape"):
        unescape(text)
