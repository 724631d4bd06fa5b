from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmux.criu_images._paths import escape, unescape


@given(st.binary())
def test_unescape_takes_escape_back(path):
    assert unescape(escape(path)) == path


@given(st.binary())
def test_an_escaped_path_is_one_printable_line_that_can_be_seen_whole(path):
    text = escape(path)
    assert text.isprintable()
    assert text == text.strip()


@given(st.binary(), st.binary())
def test_two_paths_never_look_alike(one, other):
    assert (escape(one) == escape(other)) == (one == other)
