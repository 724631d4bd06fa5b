"""Which models lie on a machine: whole ones only, by the names that engines take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmux.server._model_files import ModelFiles, cache_dir, in_cache, in_directory


def model(directory, weights=10, **config):
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"model_type": "qwen3"} | config))
    (directory / "model.safetensors").write_bytes(b"x" * weights)
    return directory


def cached(hub, name, revision="abc", **kwargs):
    place = hub / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text(revision)
    return model(place / "snapshots" / revision, **kwargs)


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "HOME": "/h"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"HOME": "/h"}, "/h/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_hugging_face_has_it(environ, where):
    assert cache_dir(environ) == Path(where)


def test_a_cached_model_has_its_name_and_the_size_of_its_weights(tmp_path):
    cached(tmp_path, "Qwen/Qwen3-0.6B", weights=7)
    cached(tmp_path, "gpt2")
    assert list(in_cache(tmp_path)) == [
        ModelFiles("Qwen/Qwen3-0.6B", 7, "qwen3"),
        ModelFiles("gpt2", 10, "qwen3"),
    ]


def test_what_is_not_whole_is_none(tmp_path):
    unfinished = cached(tmp_path, "a/unfinished")
    (unfinished / "model-2.safetensors").symlink_to("../../blobs/never-finished")
    (cached(tmp_path, "a/no-weights") / "model.safetensors").unlink()
    (cached(tmp_path, "a/no-config") / "config.json").unlink()
    (cached(tmp_path, "a/damaged") / "config.json").write_text("{")
    (cached(tmp_path, "a/list") / "config.json").write_text("[]")
    cached(tmp_path, "a/elsewhere")
    (tmp_path / "models--a--elsewhere/refs/main").write_text("../../..")
    (tmp_path / "models--a--empty").mkdir()
    (tmp_path / "datasets--a--b").mkdir()
    assert list(in_cache(tmp_path)) == []
    assert list(in_cache(tmp_path / "none")) == []


def test_a_directory_is_a_model_or_has_some_right_below_it(tmp_path):
    one = model(tmp_path / "models/one")
    model(tmp_path / "models/deeper/still")
    (tmp_path / "models/file").write_text("")
    assert [found.source for found in in_directory(one)] == [str(one)]
    assert [found.source for found in in_directory(tmp_path / "models")] == [str(one)]


def test_a_directory_may_be_a_cache_or_the_home_of_one(tmp_path):
    hub = tmp_path / "home/hub"
    cached(hub, "org/model")
    found = [ModelFiles("org/model", 10, "qwen3", str(hub))]
    assert list(in_directory(hub)) == list(in_directory(tmp_path / "home")) == found
