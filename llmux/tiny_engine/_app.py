"""The HTTP API: vLLM's routes, as far as this engine has what they speak of."""

import json
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from uuid import uuid4

from aiohttp import web

from llmux.tiny_engine._client import EngineClient, Piece
from llmux.tiny_engine._messages import Finish, Status
from llmux.tiny_engine._protocol import (
    ApiError,
    Envelope,
    Inference,
    Json,
    Limits,
    bad_request,
    parse_inference,
    parse_object,
    usage,
)
from llmux.tiny_engine._tokenizer import Tokenizer
from llmux.tiny_engine.errors import BusyError, NotReadyError, TinyEngineError, WorkerDiedError

_LOG = logging.getLogger("llmux.tiny_engine.api")
_TAGS: Final = ("weights", "kv_cache")
_MODES: Final = ("abort", "wait", "keep")

Pieces = AsyncGenerator[Piece, None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Instance:
    """Which run of the engine this is: the same before a checkpoint and after its restore."""

    instance_id: str
    start_time: float
    worker_pid: int | None


def make_app(
    engine: EngineClient, tokenizer: Tokenizer, limits: Limits, instance: Instance
) -> web.Application:
    api = _Api(engine, tokenizer, limits, instance)
    app = web.Application(middlewares=[_openai_errors], client_max_size=16 << 20)
    app.add_routes(
        [
            web.get("/health", api.health),
            web.get("/version", api.version),
            web.get("/instance", api.show_instance),
            web.get("/metrics", api.metrics),
            web.get("/v1/models", api.models),
            web.post("/v1/completions", api.completions),
            web.post("/v1/chat/completions", api.chat_completions),
            web.post("/sleep", api.sleep),
            web.post("/wake_up", api.wake_up),
            web.get("/is_sleeping", api.is_sleeping),
            web.post("/collective_rpc", api.collective_rpc),
            web.post("/reset_prefix_cache", api.reset_prefix_cache),
        ]
    )
    return app


@web.middleware
async def _openai_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return web.json_response(error.body, status=error.status)
    except TinyEngineError as error:
        translated = _translated(error)
        return web.json_response(translated.body, status=translated.status)
    except web.HTTPException as error:
        translated = ApiError(
            error.status, error.reason.replace(" ", "") + "Error", f"{error.status}: {error.reason}"
        )
        return web.json_response(translated.body, status=error.status)


def _translated(error: TinyEngineError) -> ApiError:
    match error:
        case NotReadyError() | BusyError():
            return ApiError(503, "ServiceUnavailableError", str(error))
        case WorkerDiedError():
            return ApiError(503, "EngineDeadError", str(error))
        case _:
            return ApiError(500, "InternalServerError", str(error))


class _Api:
    def __init__(
        self, engine: EngineClient, tokenizer: Tokenizer, limits: Limits, instance: Instance
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._limits = limits
        self._instance = instance

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self._engine.dead else 200)

    async def version(self, _: web.Request) -> web.Response:
        try:
            return web.json_response({"version": version("llmux")})
        except PackageNotFoundError:
            return web.json_response({"version": "not installed"})

    async def show_instance(self, _: web.Request) -> web.Response:
        facts = {
            "instance_id": self._instance.instance_id,
            "start_time": self._instance.start_time,
            "pid": os.getpid(),
            "worker_pid": self._instance.worker_pid,
            "requests_answered": self._engine.answered,
        }
        return web.json_response(facts)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=_prometheus(self._limits.model, await self._engine.call("status")))

    async def models(self, _: web.Request) -> web.Response:
        card = {
            "id": self._limits.model,
            "object": "model",
            "created": int(self._instance.start_time),
            "owned_by": "llmux",
            "root": self._limits.model,
            "max_model_len": self._limits.max_model_len,
        }
        return web.json_response({"object": "list", "data": [card]})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        return await self._infer(request, chat=False)

    async def chat_completions(self, request: web.Request) -> web.StreamResponse:
        return await self._infer(request, chat=True)

    async def sleep(self, request: web.Request) -> web.Response:
        level, mode = request.query.get("level", "1"), request.query.get("mode", "abort")
        if level not in {"1", "2"}:
            raise bad_request(f"level is {level!r}, must be 1 or 2", "level")
        if mode not in _MODES:
            raise bad_request(f"mode is {mode!r}, must be one of {', '.join(_MODES)}", "mode")
        await self._engine.sleep(int(level), mode)
        return web.Response()

    async def wake_up(self, request: web.Request) -> web.Response:
        tags = tuple(request.query.getall("tags", [])) or _TAGS
        if unknown := set(tags) - set(_TAGS):
            raise bad_request(f"tags has {min(unknown)!r}, must be of {', '.join(_TAGS)}", "tags")
        await self._engine.wake_up(tags)
        return web.Response()

    async def is_sleeping(self, _: web.Request) -> web.Response:
        return web.json_response({"is_sleeping": await self._engine.is_sleeping()})

    async def collective_rpc(self, request: web.Request) -> web.Response:
        method = parse_object(await request.read()).get("method")
        if method != "reload_weights":
            raise bad_request(f"method is {method!r}; this engine's worker has reload_weights only", "method")
        await self._engine.call("reload_weights")
        return web.json_response({"results": [None]})

    async def reset_prefix_cache(self, _: web.Request) -> web.Response:
        await self._engine.call("reset_prefix_cache")
        return web.Response()

    async def _infer(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        asked = parse_inference(await request.read(), self._tokenizer, self._limits, chat=chat)
        name = f"{'chatcmpl' if chat else 'cmpl'}-{uuid4().hex}"
        envelope = Envelope(name, int(time.time()), self._limits.model, chat)
        _LOG.info("%s: %d tokens of prompt, %s", name, len(asked.prompt), asked.sampling)
        pieces = self._engine.generate(name, asked.prompt, asked.sampling, asked.stops)
        async with aclosing(pieces):
            if asked.stream:
                return await _stream(request, pieces, asked, envelope)
            return await _whole(pieces, asked, envelope)


async def _whole(pieces: Pieces, asked: Inference, envelope: Envelope) -> web.Response:
    collected = [piece async for piece in pieces]
    counted = usage(len(asked.prompt), sum(piece.tokens for piece in collected))
    finish = collected[-1].finish or Finish.STOP
    return web.json_response(envelope.whole("".join(piece.text for piece in collected), finish, counted))


async def _stream(
    request: web.Request, pieces: Pieces, asked: Inference, envelope: Envelope
) -> web.StreamResponse:
    """Answer in server-sent events; nothing is sent before the first token, so that a refusal has its own status."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    try:
        await _send_pieces(request, response, pieces, asked, envelope)
    except TinyEngineError as error:
        if not response.prepared:
            raise
        await response.write(_event(_translated(error).body))
    await response.write(b"data: [DONE]\n\n")
    return response


async def _send_pieces(
    request: web.Request, response: web.StreamResponse, pieces: Pieces, asked: Inference, envelope: Envelope
) -> None:
    tokens = 0
    async for piece in pieces:
        tokens += piece.tokens
        if not response.prepared:
            await response.prepare(request)
            if asked.chat:
                await response.write(_event(envelope.opening()))
        if piece.text or piece.finish:
            await response.write(_event(envelope.chunk(piece.text, piece.finish)))
    if asked.stream_usage:
        await response.write(_event(envelope.usage(usage(len(asked.prompt), tokens))))


def _event(body: Json) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _prometheus(model: str, status: Status) -> str:
    series = [
        ("vllm:num_requests_running", "gauge", status.running),
        ("vllm:generation_tokens_total", "counter", status.generated_tokens),
        ("vllm:prefix_cache_queries_total", "counter", status.prefix_queries),
        ("vllm:prefix_cache_hits_total", "counter", status.prefix_hits),
        ("tiny:requests_aborted_total", "counter", status.aborted),
        ("tiny:weight_bytes", "gauge", status.weight_bytes),
        ("tiny:cached_prefixes", "gauge", status.cached_prefixes),
    ]
    label = json.dumps(model)
    return "".join(
        f"# TYPE {name} {kind}\n{name}{{model_name={label}}} {value}\n" for name, kind, value in series
    )
