"""Stand-ins for engines' servers: small real HTTP servers with each engine's API as its documentation has it, and a state."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

THERE, IN_HOST_MEMORY, GONE, EMPTY_ROOM = "there", "in host memory", "gone", "room without weights"


@dataclass
class StandIn:
    """An engine's server. What it is asked it notes; it serves only while its weights and its KV cache are there."""

    loaded: bool = True
    weights: str = THERE
    kv_cache: bool = True
    heard: list[str] = field(default_factory=list)
    kept_open: int = 0
    broken: bool = False
    """It answers everything with a 500."""

    @property
    def serves(self) -> bool:
        return self.weights == THERE and self.kv_cache

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._note])
        app.add_routes([*self.routes(), web.get("/health", self.health)])
        return app

    def routes(self) -> list[web.RouteDef]:
        return []

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.loaded else 503, text="" if self.loaded else "Loading model")

    @web.middleware
    async def _note(self, request, handler):
        self.heard.append(f"{request.method} {request.path_qs} {await request.text()}".strip())
        self.kept_open += request.keep_alive
        if self.broken:
            return web.Response(status=500, text="out of\norder")
        return await handler(request)


class Vllm(StandIn):
    """https://docs.vllm.ai/en/latest/features/sleep_mode/."""

    def routes(self):
        return [
            web.post("/sleep", self.sleep),
            web.post("/wake_up", self.wake_up),
            web.post("/collective_rpc", self.collective_rpc),
            web.post("/reset_prefix_cache", self.reset_prefix_cache),
        ]

    async def sleep(self, request):
        self.weights = {"1": IN_HOST_MEMORY, "2": GONE}[request.query["level"]]
        self.kv_cache = False
        return web.Response()

    async def wake_up(self, request):
        tags = request.query.getall("tags", ["weights", "kv_cache"])
        if "weights" in tags:
            self.weights = THERE if self.weights == IN_HOST_MEMORY else EMPTY_ROOM
        self.kv_cache = self.kv_cache or "kv_cache" in tags
        return web.Response()

    async def collective_rpc(self, request):
        assert await request.json() == {"method": "reload_weights"}
        self.weights = THERE
        return web.json_response({"results": [None]})

    async def reset_prefix_cache(self, _request):
        return web.Response()


@dataclass
class Sglang(StandIn):
    """https://docs.sglang.io/advanced_features/sglang_for_rl.html, and SGLang's http_server.py."""

    backup: bool = False
    """It was started with --enable-weights-cpu-backup."""
    busy_for: int = 0
    """How often it still has requests when it is asked to flush its cache."""

    def routes(self):
        return [
            web.post("/flush_cache", self.flush_cache),
            web.post("/release_memory_occupation", self.release),
            web.post("/resume_memory_occupation", self.resume),
            web.post("/update_weights_from_disk", self.update_weights),
        ]

    async def flush_cache(self, _request):
        self.busy_for -= 1
        return web.Response(status=400 if self.busy_for >= 0 else 200)

    async def release(self, request):
        tags = (await request.json())["tags"]
        assert self.busy_for < 0, "its scheduler asserts that it is idle, and ends"
        assert set(tags) == {"weights", "kv_cache"}
        self.weights, self.kv_cache = IN_HOST_MEMORY if self.backup else GONE, False
        return web.json_response(None)

    async def resume(self, request):
        for tag in (await request.json())["tags"]:
            if tag == "weights":
                assert self.weights in {IN_HOST_MEMORY, GONE}, "it cannot resume what was not released"
                self.weights = THERE if self.weights == IN_HOST_MEMORY else EMPTY_ROOM
            else:
                assert not self.kv_cache
                self.kv_cache = True
        return web.json_response(None)

    async def update_weights(self, request):
        if (await request.json())["model_path"] != "org/name":
            return web.json_response({"success": False, "message": "no such model"}, status=400)
        assert self.weights in {THERE, EMPTY_ROOM}, "there is no room to read into"
        self.weights = THERE
        return web.json_response({"success": True, "message": "Succeeded", "num_paused_requests": 0})


@dataclass
class LlamaCpp(StandIn):
    """https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md: nothing there lets go of weights."""

    slots: list[int] = field(default_factory=list)
    """How many tokens each holds."""
    saved_in: Path | None = None

    def routes(self):
        return [web.get("/slots", self.list), web.post("/slots/{id}", self.act)]

    async def list(self, _request):
        return web.json_response([{"id": at, "n_prompt_tokens": held} for at, held in enumerate(self.slots)])

    async def act(self, request):
        if self.saved_in is None:
            return web.json_response({"error": {"message": "no --slot-save-path"}}, status=501)
        slot, path = int(request.match_info["id"]), self.saved_in / (await request.json())["filename"]
        if request.query["action"] == "save":
            path.write_text(str(self.slots[slot]))
        else:
            self.slots[slot] = int(path.read_text())
        return web.json_response({"id_slot": slot})


class Napping(StandIn):
    """A server of nobody's, with calls of its own."""

    def routes(self):
        return [
            web.get("/ready", self.health),
            web.put("/nap/{depth}", self.nap),
            web.post("/rise", self.rise),
            web.post("/load", self.load),
        ]

    async def nap(self, request):
        self.weights = {"offload": IN_HOST_MEMORY, "discard": GONE}[request.match_info["depth"]]
        return web.Response(status=202)

    async def rise(self, request):
        assert await request.json() == {"who": ["m"], "from": "org/name"}
        self.weights = THERE if self.weights == IN_HOST_MEMORY else EMPTY_ROOM
        return web.Response()

    async def load(self, request):
        assert request.query["path"] == "org/name"
        self.weights = THERE
        return web.Response()
