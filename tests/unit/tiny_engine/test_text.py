from llmux.tiny_engine._text import TextStream


def test_a_character_over_several_tokens_comes_whole():
    stream = TextStream(())
    assert [stream.feed(bytes([byte])) for byte in "é€".encode()] == ["", "é", "", "", "€"]


def test_a_cut_character_is_replaced_at_the_end():
    assert TextStream(()).feed(b"a\xc3", final=True) == "a\ufffd"


def test_a_possible_stop_is_held_back_and_given_out_if_it_was_none():
    stream = TextStream(["END", "ND!"])
    assert [stream.feed(part) for part in (b"xE", b"N", b"d", b"END")] == ["x", "", "ENd", ""]
    assert stream.stop == "END"
    assert stream.feed(b"more", final=True) == ""
