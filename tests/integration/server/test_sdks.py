"""LangChain and LiteLLM, as people build on them, against a real llmux before a real tiny engine."""

from __future__ import annotations

import json
import os
import subprocess  # noqa: TID251 - they run in an environment of their own
from pathlib import Path

import pytest

from clients.served import ALIAS

pytestmark = [pytest.mark.root, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "tests/clients/python"
PYTHON = ROOT / ".cache/sdks/bin/python"
# Neither is to ask anybody else for anything, nor to tell.
ALONE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1",
}


def run(script: str, *arguments: str) -> dict:
    assert PYTHON.exists(), "no LangChain, no LiteLLM: run `python3 docker/setup.py run --programs true`"
    done = subprocess.run(
        [PYTHON, "-I", SCRIPTS / script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=380,  # importing LiteLLM alone takes a while
        env={"PATH": os.defpath, "HOME": "/nonexistent", **ALONE},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_langchain(llmux):
    told = run("langchain_calls.py", f"{llmux.url}/v1", ALIAS)
    whole = told["whole"]
    assert whole
    assert told["async"] == {"whole": whole, "streamed": whole}
    assert told["batch"] == [whole, whole]
    assert (told["streamed"], told["model"]) == (whole, ALIAS)
    assert 0 < told["tokens"] <= 12
    assert {*told["documents"]} == {told["query"]} != {0}
    assert len(told["documents"]) == 2


def test_litellm(llmux):
    told = run("litellm_calls.py", llmux.url, ALIAS)
    whole = told["whole"]
    assert whole
    assert told["async"] == {"whole": whole, "streamed": whole}
    assert (told["streamed"], told["message"], told["message_streamed"]) == (whole, whole, whole)
    assert 0 < told["tokens"] <= 12
    assert told["completion"]
    assert len(told["embeddings"]) == 2
    assert told["refused"] == ["NotFoundError", 404]
