"""What a model's CUDA_VISIBLE_DEVICES cannot be: what CUDA would read otherwise than llmux, or says otherwise than `resources.gpus`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from llmux.server._gpu_names import BY_BUS, ORDER, VISIBLE, By, Named, parse
from llmux.server.config._gpus import Stated
from llmux.server.config._models import ModelConfig
from llmux.server.config._ranks import leaves_gpus
from llmux.server.config._top import Config


def faults(config: Config) -> Iterator[str]:
    """Yield what is wrong with the models' variables, each with the path to its field."""
    for name, model in config.models.items():
        if model.runs_here and (visible := model.env.get(VISIBLE)) is not None:
            yield from (f"models.{name}.env.{fault}" for fault in _faults(model, visible))


def _faults(model: ModelConfig, visible: str) -> Iterator[str]:
    try:
        named = parse(visible)
    except ValueError as error:
        yield f"{VISIBLE}: {error}"
        return
    order = model.env.get(ORDER, BY_BUS)
    if named.by is By.INDEX and order != BY_BUS:
        yield f"{ORDER}: by {order} an index may be another GPU than for nvidia-smi and llmux; leave it out, or name GPUs by UUID"
    if why := _against(model.resources.gpus, named) or _parts_that_stay(model, named):
        yield f"{VISIBLE}: {why}"


def _against(stated: Stated, named: Named) -> str:
    if not stated:
        return ""
    if named.by is By.PART:
        return "names parts of GPUs (MIG), and resources.gpus whole ones; leave resources.gpus out: parts are not counted"
    if isinstance(stated, int):
        return (
            ""
            if stated == len(named.names)
            else f"names {len(named.names)}, and resources.gpus says {stated}"
        )
    if named.by is not By.INDEX or named.found({}) != stated:
        listed = ", ".join(map(str, stated))
        return f"says otherwise, or in other words, which GPUs resources.gpus has ({listed}); leave one of them out"
    return ""


def _parts_that_stay(model: ModelConfig, named: Named) -> str:
    if named.by is not By.PART or not leaves_gpus(model):
        return ""
    return (
        "names parts of GPUs (MIG), which the driver takes no process off, and the model's eviction or ladder wants that; "
        "say process keep_running or stop (and no deepen_after), or name whole GPUs"
    )
