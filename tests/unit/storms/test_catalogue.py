"""The configurations that storms run with: those of vLLM run nowhere else in CI."""

import json

import pytest

from llmux.server import config
from storms.catalogue import OF_ENGINE

STORMS = [storm for storms in OF_ENGINE.values() for storm in storms.values()]


@pytest.mark.parametrize("storm", STORMS, ids=[storm.name for storm in STORMS])
def test_llmux_takes_its_configuration(storm, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(storm.settings().document()))
    read = config.load(file)
    assert list(read.models) == [model.name for model in storm.settings().models]
    assert {model.engine for model in read.models.values()} == {storm.engine}


def test_vllm_engines_have_different_weights():
    (storm,) = OF_ENGINE["vllm"].values()
    paths = [model.document()["model_path"] for model in storm.settings().models]
    assert len(set(paths)) == len(paths) == 3
