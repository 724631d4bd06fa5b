"""Whose path it is, and which paths are no client's."""

from __future__ import annotations

import pytest

from llmux.server import _apis
from llmux.server._apis import Form
from llmux.server.errors import PathRefused, RequestInvalid


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/v1/messages", Form.ANTHROPIC),
        ("/v1/messages/count_tokens", Form.ANTHROPIC),
        ("/v1//messages/", Form.ANTHROPIC),
        ("/v1/messages_of_mine", Form.OPENAI),
        ("/v1/chat/completions", Form.OPENAI),
        ("/tokenize", Form.OPENAI),
        ("/v1", Form.OPENAI),
    ],
)
def test_errors_have_the_form_of_the_paths_api(path, form):
    assert _apis.form_of(path) is form


@pytest.mark.parametrize("path", ["/v1/../sleep", "/v1/./models", "/v1/x\\..\\..\\sleep"])
def test_a_path_that_leads_out_of_its_api_is_refused(path):
    with pytest.raises(RequestInvalid):
        _apis.check(path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/load_lora_adapter",
        "/v1/load_lora_adapter/",
        "/v1//unload_lora_adapter",
        "/v1/x/load_lora_adapter",
        "/v1/organization/admin_api_keys",
        "/v1//organizations/api_keys",
        "/v1/projects/p/users",
    ],
)
def test_calls_for_adapters_and_for_an_accounts_administration_are_refused(path):
    with pytest.raises(PathRefused):
        _apis.check(path)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/audio/speech", True),
        ("/v1/responses/resp_1/cancel", True),
        ("/v2/rerank", True),
        ("/v1/none_of_theirs", False),
        ("/v1", False),
    ],
)
def test_what_an_engine_may_lack(path, known):
    assert _apis.known(path) is known


@pytest.mark.parametrize(
    ("path", "generates"),
    [
        ("/v1/chat/completions", True),
        ("/v1/chat/completions/", True),
        ("/invocations", True),
        ("/v1/messages/count_tokens", False),
        ("/v1/embeddings", False),
    ],
)
def test_where_a_model_writes(path, generates):
    assert _apis.generates(path) is generates


@pytest.mark.parametrize(
    ("path", "model"),
    [("/v1/models/org/m", "org/m"), ("/v1/models", None), ("/v1/files/m", None)],
)
def test_a_path_may_name_a_model(path, model):
    assert _apis.model_in(path) == model
