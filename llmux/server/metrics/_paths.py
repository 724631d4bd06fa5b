"""Which group of paths a request is of, so that no client can make up new ones. Pure."""

from __future__ import annotations

from functools import lru_cache

from llmux.server._apis import PATHS_REMEMBERED

OTHER = "other"
GROUPS = (
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "batches",
    "chat/completions",
    "classify",
    "completions",
    "detokenize",
    "embed",
    "embeddings",
    "files",
    "generative_scoring",
    "images/edits",
    "images/generations",
    "images/variations",
    "invocations",
    "messages",
    "messages/count_tokens",
    "models",
    "moderations",
    "pooling",
    "realtime",
    "rerank",
    "responses",
    "score",
    "tokenize",
    "tokenizer_info",
)
"""OpenAI's, Anthropic's and vLLM's, without the version before them."""

_KNOWN = frozenset(GROUPS)
_VERSIONS = {"v1", "v2"}


@lru_cache(PATHS_REMEMBERED)
def group_of(path: str) -> str:
    """Return the longest group that `path` lies in: /v1/responses/ID is one of `responses`."""
    parts = [part for part in path.split("/", 5) if part]
    if parts and parts[0] in _VERSIONS:
        del parts[0]
    return next((group for length in (2, 1) if (group := "/".join(parts[:length])) in _KNOWN), OTHER)
