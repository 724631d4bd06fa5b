import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmux.tiny_engine._tokenizer import ASSISTANT, USER, load_tokenizer, train_tokenizer
from llmux.tiny_engine.errors import ModelDamagedError

_TOKENIZER = train_tokenizer("the lamp, the light, the lens and the log " * 3, 40)


@given(st.text())
def test_every_text_comes_back(text):
    data = b"".join(map(_TOKENIZER.token_bytes, _TOKENIZER.encode(text)))
    assert data == text.encode(errors="replace")


def test_frequent_words_become_one_token():
    assert len(_TOKENIZER.encode(" the")) == 1


def test_a_chat_ends_where_the_answer_begins():
    tokens = _TOKENIZER.encode_chat([("user", "a"), ("assistant", "b"), ("user", "c")])
    assert tokens == [USER, 97, ASSISTANT, 98, USER, 99, ASSISTANT]


def test_it_survives_its_file(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(_TOKENIZER.to_json())
    assert load_tokenizer(path).merges == _TOKENIZER.merges


def test_a_merge_of_the_future_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"type": "llmux-tiny-bpe", "version": 1, "merges": [[1, 259]]}')
    with pytest.raises(ModelDamagedError, match=r"merges\[0\]"):
        load_tokenizer(path)
