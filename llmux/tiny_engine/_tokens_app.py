"""The routes about tokens and vectors: vLLM's /tokenize and /detokenize, OpenAI's embeddings."""

import base64
from collections.abc import Sequence

import numpy as np
from aiohttp import web

from llmux.tiny_engine._generating import Generating
from llmux.tiny_engine._protocol import (
    Json,
    bad_request,
    parse_object,
    plain_prompt,
    room_beside,
    served,
    turns,
)


class TokensApi:
    """Their handlers."""

    def __init__(self, generating: Generating) -> None:
        self._generating = generating

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/tokenize", self.tokenize),
            web.post("/detokenize", self.detokenize),
            web.post("/v1/embeddings", self.embed),
        ]

    async def tokenize(self, request: web.Request) -> web.Response:
        body, tokenizer = parse_object(await request.read()), self._generating.tokenizer
        served(body, self._generating.limits)
        chat = "messages" in body
        tokens = tokenizer.encode_chat(turns(body)) if chat else plain_prompt(body, "prompt", tokenizer)
        answer = {
            "count": len(tokens),
            "max_model_len": self._generating.limits.max_model_len,
            "tokens": tokens,
            "token_strs": None,
        }
        return web.json_response(answer)

    async def detokenize(self, request: web.Request) -> web.Response:
        body, tokenizer = parse_object(await request.read()), self._generating.tokenizer
        served(body, self._generating.limits)
        tokens = plain_prompt(body, "tokens", tokenizer)
        text = b"".join(map(tokenizer.token_bytes, tokens)).decode("utf-8", "replace")
        return web.json_response({"prompt": text})

    async def embed(self, request: web.Request) -> web.Response:
        body = parse_object(await request.read())
        model = served(body, self._generating.limits)
        written = body.get("encoding_format") or "float"
        if written not in ("float", "base64"):  # a tuple: it may be unhashable
            raise bad_request("encoding_format must be float or base64", "encoding_format")
        if body.get("dimensions") is not None:
            raise bad_request("dimensions is not offered by this engine; leave it out", "dimensions")
        texts = self._texts(body)
        vectors = [await self._generating.engine.embed(tokens) for tokens in texts]
        total = sum(map(len, texts))
        answer = {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _written(vector, packed=written == "base64"),
                }
                for index, vector in enumerate(vectors)
            ],
            "model": model,
            "usage": {"prompt_tokens": total, "total_tokens": total},
        }
        return web.json_response(answer)

    def _texts(self, body: Json) -> list[list[int]]:
        given = body.get("input")
        several = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
        each = given if isinstance(given, list) and several else [given]
        tokens = [plain_prompt({"input": one}, "input", self._generating.tokenizer) for one in each]
        for one in tokens:
            room_beside(one, self._generating.limits, "input")
        return tokens


def _written(vector: Sequence[float], *, packed: bool) -> object:
    if not packed:
        return list(vector)
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
