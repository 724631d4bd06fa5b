"""What a sleep can be: each pair of what becomes of the weights and of the process, what it needs, or why it is none.

The one table of this; docs/evictions.md shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmux.server._depth import STOPPED
from llmux.server._model import Eviction, Process, Weights
from llmux.server.config._engines import ABILITIES, EngineName


class Need(StrEnum):
    """What some evictions ask of the engine or of the machine."""

    SLEEP_MODE = "sleep_mode"  # the engine's /sleep and /wake_up
    GPU = "gpu"  # weights that are not in host memory already
    CRIU = "criu"
    CUDA_DRIVER = "cuda_driver"  # one that can move a process's GPU memory out


@dataclass(frozen=True)
class Possible:
    """It can be done where all of `needs` is there."""

    needs: frozenset[Need] = frozenset()


@dataclass(frozen=True)
class Refused:
    """It cannot be done anywhere."""

    reason: str


_STOPPED = (
    "an engine that is stopped keeps no weights: weights {weights!r} cannot go with process "
    "'stop'; say \"weights\": \"discard\", or keep the process with 'keep_running' or 'checkpoint'"
)


def _possible(*needs: Need) -> Possible:
    return Possible(frozenset(needs))


MATRIX: Mapping[Eviction, Possible | Refused] = {
    Eviction(Weights.RETAIN, Process.KEEP_RUNNING): _possible(),
    Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING): _possible(Need.SLEEP_MODE, Need.GPU),
    Eviction(Weights.DISCARD, Process.KEEP_RUNNING): _possible(Need.SLEEP_MODE),
    Eviction(Weights.RETAIN, Process.CUDA_SUSPEND): _possible(Need.CUDA_DRIVER),
    Eviction(Weights.OFFLOAD, Process.CUDA_SUSPEND): _possible(Need.CUDA_DRIVER, Need.SLEEP_MODE, Need.GPU),
    Eviction(Weights.DISCARD, Process.CUDA_SUSPEND): _possible(Need.CUDA_DRIVER, Need.SLEEP_MODE),
    Eviction(Weights.RETAIN, Process.CHECKPOINT): _possible(Need.CRIU),
    Eviction(Weights.OFFLOAD, Process.CHECKPOINT): _possible(Need.CRIU, Need.SLEEP_MODE, Need.GPU),
    Eviction(Weights.DISCARD, Process.CHECKPOINT): _possible(Need.CRIU, Need.SLEEP_MODE),
    Eviction(Weights.RETAIN, Process.STOP): Refused(_STOPPED.format(weights="retain")),
    Eviction(Weights.OFFLOAD, Process.STOP): Refused(_STOPPED.format(weights="offload")),
    STOPPED: _possible(),
}

_INSTEAD: Mapping[Need, str] = {
    Need.SLEEP_MODE: "use weights 'retain', or process 'stop'",
    Need.GPU: "use weights 'discard' or 'retain'",
    Need.CRIU: "use 'keep_running' or 'stop'",
    Need.CUDA_DRIVER: "use 'checkpoint', 'keep_running' or 'stop'",
}


def never(eviction: Eviction) -> str:
    """Return why this eviction can be done nowhere; or an empty text."""
    match MATRIX[eviction]:
        case Refused(reason):
            return reason
        case Possible():
            return ""


def lack(eviction: Eviction, missing: Mapping[Need, str]) -> str:
    """Return why this eviction cannot be done where `missing` is not there (and why that is so); or an empty text."""
    entry = MATRIX[eviction]
    if isinstance(entry, Refused):
        return entry.reason
    return "; ".join(f"{missing[need]}; {_INSTEAD[need]}" for need in sorted(entry.needs & missing.keys()))


def unable(eviction: Eviction, engine: EngineName, extra_args: Sequence[str] = ()) -> str:
    """Return why an engine that was started so cannot sleep so, whatever the machine has; or an empty text."""
    abilities = ABILITIES[engine]
    if not abilities.runs_here:
        return f"{abilities.title} runs elsewhere, and llmux can put it neither to sleep nor to disk"
    if eviction.process is Process.STOP:
        return ""
    option = abilities.weights.get(eviction.weights)
    if option is None:
        return f"{abilities.title} has no call to {eviction.weights} its weights; {_INSTEAD[Need.SLEEP_MODE]}"
    if option and option not in extra_args:
        others = " or ".join(f"'{each}'" for each, needed in abilities.weights.items() if not needed)
        return f"{abilities.title} can {eviction.weights} its weights with {option} in extra_args only; add it, or use weights {others}"
    return ""


# ---- short forms ----

SLEEP_LEVELS: Mapping[int, Eviction] = {
    1: Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING),
    2: Eviction(Weights.DISCARD, Process.KEEP_RUNNING),
    3: Eviction(Weights.RETAIN, Process.CUDA_SUSPEND),
    4: Eviction(Weights.RETAIN, Process.CHECKPOINT),
    5: STOPPED,
}
"""What earlier releases of llmux called a sleep level."""
