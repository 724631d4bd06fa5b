"""Whether configured models sleep on disk, for which there is CRIU. Pure."""

from __future__ import annotations

from enum import Enum

from llmux.server._model import Process
from llmux.server.config import Config, ModelConfig


class DiskUse(Enum):
    """Whether any model does."""

    WANTED = "wanted"  # the configuration says so
    WHERE_IT_CAN = "where it can"  # one that is asleep in memory, where its room is wanted: it is ended where there is no CRIU
    NEVER = "never"


def disk_use(config: Config) -> DiskUse:
    """Say whether any of the configured models does."""
    here = [model for model in config.models.values() if model.runs_here]
    if any(map(_wants_disk, here)):
        return DiskUse.WANTED
    may = any(rung.eviction.process is Process.CHECKPOINT for model in here for rung in model.rungs())
    return DiskUse.WHERE_IT_CAN if may else DiskUse.NEVER


def _wants_disk(model: ModelConfig) -> bool:
    evictions = (model.eviction.eviction(), *model.eviction.escalations())
    return model.ladder.deepen_after is not None or any(
        each.process is Process.CHECKPOINT for each in evictions
    )
