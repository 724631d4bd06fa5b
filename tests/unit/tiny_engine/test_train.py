import pytest

from llmux.tiny_engine._train import CORPUS, train
from llmux.tiny_engine.errors import TextTooShortError


def test_the_same_seed_makes_the_same_model(tmp_path):
    text = CORPUS.read_text()[:2000]
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(tmp_path / name, [text], seed, epochs=1)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_training_learns(tmp_path):
    text = CORPUS.read_text()[:2000]
    assert train(tmp_path, [text], 0, epochs=8) < train(tmp_path, [text], 0, epochs=1) / 2


def test_a_text_without_paragraphs_is_refused(tmp_path):
    with pytest.raises(TextTooShortError):
        train(tmp_path, ["One sentence."], 0)
