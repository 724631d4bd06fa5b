"""The HTTP API: vLLM's routes, as far as this engine has what they speak of; those of each further API have a module of their own."""

import json
import os
import time
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from uuid import uuid4

from aiohttp import web

from llmux.tiny_engine._adapters import Module
from llmux.tiny_engine._answer import Exchange, answer_in_pieces, answer_whole, errors_in_form
from llmux.tiny_engine._anthropic_app import MessagesApi
from llmux.tiny_engine._client import EngineClient
from llmux.tiny_engine._faults import Fault
from llmux.tiny_engine._generating import Generating
from llmux.tiny_engine._messages import Status
from llmux.tiny_engine._protocol import Envelope, Limits, bad_request, parse_inference, parse_object
from llmux.tiny_engine._realtime_app import RealtimeApi
from llmux.tiny_engine._responses_app import ResponsesApi
from llmux.tiny_engine._signature import NONCE_HEADER, Nonces
from llmux.tiny_engine._tokenizer import Tokenizer
from llmux.tiny_engine._tokens_app import TokensApi
from llmux.tiny_engine.errors import TinyEngineError

_TAGS: Final = ("weights", "kv_cache")
_MODES: Final = ("abort", "wait", "keep")


@dataclass(frozen=True)
class Offers:
    """What an engine was started to offer: adapters loaded at start, their calls at run time, faults."""

    modules: tuple[Module, ...] = ()
    lora_calls: bool = False
    faults: bool = False
    faults_at_start: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Instance:
    """Which run of the engine this is: the same before a checkpoint and after its restore."""

    instance_id: str
    start_time: float
    worker_pid: int | None
    on_gpu: bool = False


async def make_app(
    engine: EngineClient, tokenizer: Tokenizer, limits: Limits, instance: Instance, offers: Offers
) -> web.Application:
    """Build the API once its adapters are loaded and its first faults armed. Raises TinyEngineError."""
    api = _Api(engine, tokenizer, limits, instance)
    app = web.Application(middlewares=[errors_in_form], client_max_size=16 << 20)
    app.add_routes(
        [
            web.get("/health", api.health),
            web.get("/version", api.version),
            web.get("/instance", api.show_instance),
            web.get("/device", api.device),
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
    responses = ResponsesApi(api.generating)
    for part in (
        responses,
        MessagesApi(api.generating),
        TokensApi(api.generating),
        RealtimeApi(api.generating),
    ):
        app.add_routes(part.routes())
    app.on_shutdown.append(responses.close)
    if offers.lora_calls:
        app.router.add_post("/v1/load_lora_adapter", api.adapters.load)
        app.router.add_post("/v1/unload_lora_adapter", api.adapters.unload)
    if offers.faults:
        app.router.add_post("/fault", api.faults.handle)
    for module in offers.modules:
        await api.adapters.add(module)
    for fault in offers.faults_at_start:
        await api.faults.happen(fault)
    return app


class _Api:
    def __init__(
        self, engine: EngineClient, tokenizer: Tokenizer, limits: Limits, instance: Instance
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._instance = instance
        self._nonces = Nonces()
        self.generating = Generating(engine, tokenizer, limits)
        self.adapters = self.generating.adapters
        self.faults = self.generating.faults

    async def health(self, _: web.Request) -> web.Response:
        if self._engine.dead:
            return web.Response(status=503)
        if self._instance.on_gpu:
            try:
                await self._engine.call("check")
            except TinyEngineError as error:
                return web.Response(status=503, text=str(error))
        return web.Response()

    async def device(self, _: web.Request) -> web.Response:
        try:
            return web.json_response(await self._engine.look())
        except TinyEngineError as error:
            return web.json_response({"error": str(error)}, status=503)

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
            "parent": None,
            "max_model_len": self._limits.max_model_len,
        }
        return web.json_response(
            {"object": "list", "data": [card, *self.adapters.cards(int(self._instance.start_time))]}
        )

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
        await self.faults.at_sleep()
        await self._engine.sleep(int(level), mode)
        return web.Response()

    async def wake_up(self, request: web.Request) -> web.Response:
        tags = tuple(request.query.getall("tags", [])) or _TAGS
        if unknown := set(tags) - set(_TAGS):
            raise bad_request(f"tags has {min(unknown)!r}, must be of {', '.join(_TAGS)}", "tags")
        await self.faults.at_wake()
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
        data = await request.read()
        if garbage := self.faults.garbage(request):
            return garbage
        asked = parse_inference(data, self.generating.tokenizer, self.generating.limits, chat=chat)
        name = f"{'chatcmpl' if chat else 'cmpl'}-{uuid4().hex}"
        signer = self._nonces.signer(request.headers.get(NONCE_HEADER), asked.model, asked.digest)
        exchange = Exchange(asked, Envelope(name, int(time.time()), asked.model, chat), signer)
        async with aclosing(self.generating.pieces(name, asked)) as pieces:
            if asked.stream:
                return await answer_in_pieces(request, pieces, exchange)
            return await answer_whole(pieces, exchange)


def _prometheus(model: str, status: Status) -> str:
    series = [
        ("vllm:num_requests_running", "gauge", status.running),
        ("vllm:generation_tokens_total", "counter", status.generated_tokens),
        ("vllm:prefix_cache_queries_total", "counter", status.prefix_queries),
        ("vllm:prefix_cache_hits_total", "counter", status.prefix_hits),
        ("tiny:requests_aborted_total", "counter", status.aborted),
        ("tiny:weight_bytes", "gauge", status.weight_bytes),
        ("tiny:cached_prefixes", "gauge", status.cached_prefixes),
        ("tiny:cached_adapters", "gauge", len(status.adapters)),
    ]
    label = json.dumps(model)
    return "".join(
        f"# TYPE {name} {kind}\n{name}{{model_name={label}}} {value}\n" for name, kind, value in series
    )
