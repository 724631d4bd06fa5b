"""All storms by their names."""

from __future__ import annotations

from storms import killing, leaving, mishaps, switches
from storms.storm import Storm

STORMS: dict[str, Storm] = {
    storm.name: storm
    for storm in (
        switches.ALTERNATION,
        switches.BURST,
        switches.STREAMING,
        switches.RACE,
        switches.ZIPF,
        leaving.ABANDONED,
        leaving.FLOOD,
        killing.KILLED_ENGINE,
        killing.DISTURBED,
        killing.KILLED_LLMUX,
        mishaps.FULL_DISK,
        mishaps.ENDURANCE,
    )
}
