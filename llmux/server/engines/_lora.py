"""What vLLM's API says of LoRA adapters: its calls, and what they carry.

https://docs.vllm.ai/en/latest/features/lora/
"""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

LOAD = "/v1/load_lora_adapter"
UNLOAD = "/v1/unload_lora_adapter"
LIST = "/v1/models"
ALLOWED_BY = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
"""The environment in which an engine has the first two calls."""


class _Card(BaseModel):
    id: str
    root: str | None = None
    parent: str | None = None


class _Cards(BaseModel):
    data: tuple[_Card, ...]


def load_body(name: str, path: str) -> dict[str, str]:
    """Return what is sent to LOAD."""
    return {"lora_name": name, "lora_path": path}


def unload_body(name: str) -> dict[str, str]:
    """Return what is sent to UNLOAD."""
    return {"lora_name": name}


def adapters_in(body: bytes) -> dict[str, str]:
    """Return the path of each adapter in the answer to LIST, by its name. Raises ValueError.

    An adapter is what has a parent: the served model has none.
    """
    try:
        cards = _Cards.model_validate_json(body).data
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error
    return {card.id: card.root or "" for card in cards if card.parent}
