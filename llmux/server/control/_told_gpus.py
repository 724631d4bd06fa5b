"""From what NVML tells to what the control API answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiohttp import web

from llmux.server._record import Replica
from llmux.server.control._answers import GpuTold, XidTold
from llmux.server.control._told_parts import iso, problem_told
from llmux.server.gpus import GPUS, Gpus, Sight

Shares = Mapping[str, Mapping[int, int] | None]
"""What each engine has on each GPU, by its replica's name; one that is not there has not been looked at."""


@dataclass(frozen=True)
class Seen:
    """The GPUs, and how they were when they were last looked at."""

    gpus: Gpus
    sight: Sight


async def seen(app: web.Application) -> Seen | None:
    """Look at the GPUs; None where there are none. Takes no longer than somebody who looks at a status waits."""
    gpus = app.get(GPUS)
    return Seen(gpus, await gpus.seen()) if gpus else None


def shares_of(seen: Seen | None) -> Shares:
    """Return what each engine has."""
    return seen.sight.shares if seen else {}


def gpu_memory_told(replicas: Iterable[Replica], shares: Shares) -> dict[str, int] | None:
    """Return what these have together, by GPU; None where that is known of none that runs."""
    known = [share for each in replicas if each.life and (share := shares.get(each.name)) is not None]
    if not known:
        return None
    indexes = sorted({index for share in known for index in share})
    return {str(index): sum(share.get(index, 0) for share in known) for index in indexes}


def gpus_told(seen: Seen) -> tuple[GpuTold, ...]:
    """Return each GPU."""
    return tuple(_gpu_told(index, seen) for index in seen.gpus.indexes)


def _gpu_told(index: int, seen: Seen) -> GpuTold:
    gpu = next((each for each in seen.sight.gpus if each.index == index), None)
    heard = seen.gpus.heard.get(index)
    return GpuTold(
        index=index,
        uuid=gpu and gpu.uuid,
        name=gpu and gpu.name,
        memory=gpu and gpu.memory,
        used=gpu and gpu.used,
        others=seen.sight.others.get(index),
        last_error=heard and XidTold(number=heard.number, meaning=str(heard), at=iso(heard.at)),
        problem=problem_told(seen.gpus.lost.get(index)),
    )
