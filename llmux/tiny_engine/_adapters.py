"""The API's side of LoRA adapters: vLLM's calls at run time, and which name of a request means which adapter.

As in vLLM, an adapter stays known until it is unloaded, however few of them the worker keeps in its memory, and the
calls exist only where VLLM_ALLOW_RUNTIME_LORA_UPDATING is set to 1 or true.
https://docs.vllm.ai/en/latest/features/lora/
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from llmux.tiny_engine._client import EngineClient
from llmux.tiny_engine._messages import Adapter
from llmux.tiny_engine._protocol import ApiError, Json, bad_request, parse_object

ALLOWED_BY: Final = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"


@dataclass(frozen=True)
class Module:
    """An adapter that is loaded at start; `base` is shown as its parent, empty: the served model."""

    name: str
    path: str
    base: str = ""


class AdapterRegistry:
    """The adapters that requests may name."""

    def __init__(self, engine: EngineClient, base: str) -> None:
        self._engine = engine
        self._base = base
        self._known: dict[str, Module] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._known)

    def find(self, name: str) -> Adapter | None:
        """Return the adapter of this name; None for the model itself."""
        module = self._known.get(name)
        return None if module is None else Adapter(module.name, module.path)

    def cards(self, created: int) -> list[Json]:
        """Describe each adapter as /v1/models does."""
        return [
            {
                "id": module.name,
                "object": "model",
                "created": created,
                "owned_by": "llmux",
                "root": module.path,
                "parent": module.base or self._base,
            }
            for module in self._known.values()
        ]

    async def add(self, module: Module) -> None:
        """Load an adapter, in place of one of the same name. Raises AdapterNotFoundError, CallRefusedError."""
        await self._engine.load_adapter(Adapter(module.name, module.path))
        self._known[module.name] = module

    async def load(self, request: web.Request) -> web.Response:
        """Answer POST /v1/load_lora_adapter."""
        body = parse_object(await request.read())
        name, path = _text(body, "lora_name"), _text(body, "lora_path")
        if not name or not path:
            raise _wrong("Both 'lora_name' and 'lora_path' must be provided.")
        if name in self._known and body.get("load_inplace") is not True:
            loaded = f"The lora adapter '{name}' has already been loaded."
            raise _wrong(f"{loaded} If you want to load the adapter in place, set 'load_inplace' to True.")
        await self.add(Module(name, path))
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        """Answer POST /v1/unload_lora_adapter."""
        name = _text(parse_object(await request.read()), "lora_name")
        if not name:
            raise _wrong("'lora_name' needs to be provided to unload a LoRA adapter.")
        if self._known.pop(name, None) is None:
            raise ApiError(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        await self._engine.unload_adapter(name)
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")


def run_time_updates(environment: Mapping[str, str]) -> bool:
    """Tell whether the calls exist."""
    return environment.get(ALLOWED_BY, "0").strip().lower() in {"1", "true"}


def parse_module(text: str) -> Module:
    """Read a word of --lora-modules: NAME=PATH, or JSON with name, path and base_model_name. Raises ValueError."""
    if not text.startswith("{"):
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(text)
        return Module(name, path)
    fields = json.loads(text)
    module = Module(fields.get("name"), fields.get("path"), fields.get("base_model_name") or "")
    if not all(isinstance(each, str) for each in (module.name, module.path, module.base)):
        raise ValueError(text)
    return module


def _wrong(message: str) -> ApiError:
    return ApiError(400, "InvalidUserInput", message)


def _text(body: Json, name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{name} must be a text", name)
    return value or ""
