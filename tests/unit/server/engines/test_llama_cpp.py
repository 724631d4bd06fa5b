"""llama.cpp's command line."""

from __future__ import annotations

from pathlib import Path

from llmux.server.config import ModelConfig
from llmux.server.engines import make


def argv(**fields):
    model = {"model_path": "/models/m.gguf", "port": 8001, "engine": "llama.cpp", **fields}
    return make("m", ModelConfig.model_validate(model), Path("/logs/m.log")).command({}).argv


def test_its_line():
    line = " ".join(argv(extra_args=("--ctx-size", "4096")))
    assert (
        line == "llama-server --model /models/m.gguf --host 127.0.0.1 --port 8001 --alias m --ctx-size 4096"
    )


def test_another_program_can_be_named():
    assert argv(program=("/opt/llama/llama-server",))[:2] == ("/opt/llama/llama-server", "--model")
