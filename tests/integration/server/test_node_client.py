"""OpenAI's own Node client against a real llmux before real tiny engines: each method whole, streamed, aborted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess  # noqa: TID251 - Node is a program
from pathlib import Path

import pytest

from clients.served import ALIAS, NAME, OTHER

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tests/clients/node/methods.mjs"
MODULES = ROOT / ".cache/node_client/node_modules"


@pytest.fixture(scope="module")
def told(llmux, tmp_path_factory) -> dict:
    """Return what each method answered."""
    assert MODULES.is_dir(), "no Node client: run `python3 docker/setup.py run --programs true`"
    place = tmp_path_factory.mktemp("node")
    shutil.copy(SCRIPT, place)
    (place / "node_modules").symlink_to(MODULES)
    argv = [MODULES / ".bin/node", place / SCRIPT.name, f"{llmux.url}/v1", NAME, ALIAS, OTHER]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=100, env={"PATH": os.defpath}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_chats_and_completions(told):
    chat = told["chat"]
    assert chat["model"] == NAME
    assert (
        chat["usage"]["total_tokens"] == chat["usage"]["prompt_tokens"] + chat["usage"]["completion_tokens"]
    )
    assert told["chatStream"] == {"text": chat["text"], "usage": chat["usage"]}
    assert told["chatHelper"] == {"told": chat["text"], "text": chat["text"], "model": ALIAS}
    assert told["chatChoices"] == [{"index": 0, "top": 2}, {"index": 1, "top": 2}]
    assert told["completion"] == told["completionStream"] != ""
    assert told["together"] == 1


def test_embeddings_are_the_same_packed_and_as_numbers(told):
    assert told["embeddings"]["sizes"][0] == told["embeddings"]["sizes"][1] > 1
    assert told["embeddings"]["same"] is True


def test_responses_are_made_shown_gone_on_with_streamed_cancelled_and_deleted(told):
    responses, streamed = told["responses"], told["responseStream"]
    assert responses["text"] == responses["shown"] != ""
    assert responses["tokens"][1] > responses["tokens"][0]
    assert responses["cancelled"] == "cancelled"
    assert responses["gone"]["status"] == 404
    assert (responses["crossed"]["status"], responses["crossed"]["param"]) == (400, "previous_response_id")
    assert streamed == {"deltas": responses["text"], "text": responses["text"], "model": ALIAS}


def test_models_are_listed_and_shown_by_any_of_their_names(told):
    assert told["models"]["ids"] == [NAME, ALIAS, OTHER]
    assert told["models"]["one"] == ALIAS
    assert told["models"]["nobody"]["code"] == told["unknown"]["code"] == "model_not_found"


def test_caps_hold_and_what_the_engine_lacks_is_said(told):
    assert told["capped"] == 5
    for error in told["lacking"].values():
        assert (error["status"], error["code"]) == (501, "not_implemented")
        assert "tiny, does not have POST /v1/audio/" in error["message"]


def test_the_headers_of_an_answer(told):
    raw = told["raw"]
    assert (raw["status"], raw["wake"]) == (200, "warm")
    assert raw["id"] == raw["same"]


def test_what_is_aborted_stops_in_the_engine(told, llmux):
    assert told["abortedStream"] == 3
    assert told["abortedCall"] == "APIUserAbortError"
    assert told["timedOut"] == "APIConnectionTimeoutError"
    llmux.until_idle()
