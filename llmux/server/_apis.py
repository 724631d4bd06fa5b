"""The APIs that clients speak to engines through llmux: which paths are theirs, and which are never passed on. Pure.

Sources: OpenAI's and Anthropic's API references; vLLM's routes (vllm/entrypoints), of which its development and
administration calls are left out: whoever may ask a model may not put it to sleep, nor load what they like into it.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

from llmux.server.errors import PathRefused, RequestInvalid

TOP_LEVEL = (
    "/tokenize",
    "/detokenize",
    "/tokenizer_info",
    "/pooling",
    "/classify",
    "/score",
    "/generative_scoring",
    "/rerank",
    "/v2/rerank",
    "/v2/embed",
    "/invocations",
)
"""What vLLM serves beside /v1 for clients."""

PATHS_REMEMBERED = 256
"""Most requests are for a few paths, and what these are is asked several times of each."""
_NEVER_BELOW_V1 = frozenset({"load_lora_adapter", "unload_lora_adapter"})
_ADMINISTRATION = frozenset({"organization", "organizations", "projects"})
"""Of the account at OpenAI or Anthropic that llmux's own key for a remote model is of."""
_BELOW_V1 = frozenset(
    {
        "audio",
        "batches",
        "chat",
        "classify",
        "completions",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "messages",
        "models",
        "moderations",
        "pooling",
        "realtime",
        "rerank",
        "responses",
        "score",
        "uploads",
        "vector_stores",
        "videos",
    }
)
_GENERATING = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/invocations"}
)


class Form(Enum):
    """Whose form an error has."""

    OPENAI = "openai"  # vLLM's own calls have it too
    ANTHROPIC = "anthropic"


def form_of(path: str) -> Form:
    """Return the form of errors that clients of this path parse."""
    return Form.ANTHROPIC if _parts(path)[:2] == ["v1", "messages"] else Form.OPENAI


@lru_cache(PATHS_REMEMBERED)
def check(path: str) -> None:
    """Refuse a decoded path that is no client's to call. Raises RequestInvalid and PathRefused."""
    if not {".", ".."}.isdisjoint(re.split(r"[/\\]", path)):
        raise RequestInvalid(f"the path {path} has a part that is . or ..", None)
    if not _ADMINISTRATION.isdisjoint(_parts(path)[1:2]):
        raise PathRefused(path, hint="Administer the account with a key and a client of your own")
    if not _NEVER_BELOW_V1.isdisjoint(_parts(path)):
        hint = "Adapters are configured (models.NAME.adapters) and loaded at their first request"
        raise PathRefused(path, hint=hint)


def known(path: str) -> bool:
    """Say whether the path belongs to one of the APIs, so that an engine that does not have it lacks something."""
    parts = _parts(path)
    return "/" + "/".join(parts) in TOP_LEVEL or (
        len(parts) > 1 and parts[0] == "v1" and parts[1] in _BELOW_V1
    )


def meant(path: str) -> str:
    """Return what somebody probably wanted who asked for this path, which there is not; or an empty text."""
    below = f"/v1{path}"
    return below if known(below) else ""


def model_in(path: str) -> str | None:
    """Return the model that a path itself names."""
    match _parts(path):
        case ["v1", "models", *name] if name:
            return "/".join(name)
        case _:
            return None


@lru_cache(PATHS_REMEMBERED)
def generates(path: str) -> bool:
    """Say whether a model writes an answer there, by a request's sampling parameters."""
    return "/" + "/".join(_parts(path)) in _GENERATING


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
