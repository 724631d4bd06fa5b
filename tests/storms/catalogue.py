"""All storms by their names."""

from __future__ import annotations

from storms import adapters, changing, killing, leaving, limits, mishaps, switches, vllm
from storms.storm import Storm

STORMS: dict[str, Storm] = {
    storm.name: storm
    for storm in (
        switches.ALTERNATION,
        switches.BURST,
        switches.STREAMING,
        switches.RACE,
        switches.ZIPF,
        adapters.ADAPTERS,
        leaving.ABANDONED,
        leaving.FLOOD,
        killing.KILLED_ENGINE,
        killing.KILLED_TREE,
        killing.DISTURBED,
        killing.KILLED_REPLICA,
        killing.KILLED_LLMUX,
        killing.KILLED_LLMUX_TWICE,
        killing.STOPPED_LLMUX,
        limits.OVERFLOW,
        limits.CUT_OFF,
        limits.HANGING,
        mishaps.FULL_DISK,
        changing.RELOAD,
        mishaps.ENDURANCE,
    )
}

OF_ENGINE: dict[str, dict[str, Storm]] = {"tiny": STORMS, "vllm": {vllm.TURNS.name: vllm.TURNS}}
"""The storms for each engine. Those of vLLM take too long for `make test`."""
