"""Tokens' log-probabilities as OpenAI's answers show them, of chats and of completions."""

from collections.abc import Sequence
from itertools import accumulate

from llmux.tiny_engine._client import TokenLogprob
from llmux.tiny_engine._protocol import Json

Told = Sequence[tuple[TokenLogprob, ...]]
"""For each token: its own, then those of the likeliest ones."""


def of_chat(told: Told) -> Json:
    return {
        "content": [
            {**_shown(token), "top_logprobs": [_shown(each) for each in likeliest]}
            for token, *likeliest in told
        ]
    }


def of_completion(told: Told) -> Json:
    texts = [_text(token) for token, *_ in told]
    return {
        "tokens": texts,
        "token_logprobs": [token.logprob for token, *_ in told],
        "top_logprobs": [{_text(each): each.logprob for each in likeliest} for _, *likeliest in told],
        "text_offset": list(accumulate(map(len, texts), initial=0))[:-1],
    }


def _shown(token: TokenLogprob) -> Json:
    return {"token": _text(token), "logprob": token.logprob, "bytes": list(token.data)}


def _text(token: TokenLogprob) -> str:
    return token.data.decode("utf-8", "replace")
