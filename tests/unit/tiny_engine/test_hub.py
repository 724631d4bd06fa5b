from pathlib import Path

import pytest

from llmux.tiny_engine._hub import find_model, hub_directory, new_snapshot
from llmux.tiny_engine.errors import ModelNotFoundError


def test_a_name_is_found_at_the_revision_that_main_names(tmp_path):
    first = new_snapshot(tmp_path, "Qwen/Qwen3-0.6B", "one")
    second = new_snapshot(tmp_path, "Qwen/Qwen3-0.6B", "two")
    assert find_model("Qwen/Qwen3-0.6B", tmp_path) == second
    (tmp_path / "models--Qwen--Qwen3-0.6B/refs/main").write_text(first.name)
    assert find_model("Qwen/Qwen3-0.6B", tmp_path) == first


def test_a_directory_is_taken_as_it_is(tmp_path):
    assert find_model(str(tmp_path), Path("/nowhere")) == tmp_path


@pytest.mark.parametrize("name", ["a/b", "../b", "a/../b", ""])
def test_what_is_not_there_is_named_with_where_it_was_looked_for(tmp_path, name):
    with pytest.raises(ModelNotFoundError, match=str(tmp_path)):
        find_model(name or "\0", tmp_path)


def test_the_cache_is_huggingfaces():
    assert hub_directory({"HF_HUB_CACHE": "/c", "HF_HOME": "/h"}) == Path("/c")
    assert hub_directory({"HF_HOME": "/h"}) == Path("/h/hub")
    assert hub_directory({"HOME": "/u"}) == Path("/u/.cache/huggingface/hub")
