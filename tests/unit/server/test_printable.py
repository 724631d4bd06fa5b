"""No text of somebody else's ends a line or moves a cursor."""

from __future__ import annotations

from llmux.server._printable import printable


def test_control_characters_are_written_out_and_others_are_not():
    assert printable("a\x1b[2Jb\nc\td\x00\x9b\u2028e") == r"a\x1b[2Jb\nc\td\x00\x9b\u2028e"
    assert printable("Grüße, 語 🚀") == "Grüße, 語 🚀"


def test_what_is_to_be_kept_is():
    assert printable("a\nb\r", keep="\n") == "a\nb\\r"
