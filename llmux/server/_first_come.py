"""Whoever has waited longest is next: the plainest policy. Pure."""

from __future__ import annotations

from llmux.server.scheduling.snapshot import Decisions, Phase, Sleep, Snapshot, Wake


def first_come(snapshot: Snapshot) -> Decisions:
    """Decide as simply as can be: whoever has waited longest is next, and the least recently used one sleeps for it."""
    waiting = sorted(
        (d for d in snapshot.demands.values() if d.waiting or d.wanted), key=lambda d: d.oldest or 0
    )
    awake = [each for each in snapshot.replicas if each.phase in {Phase.RISING, Phase.AWAKE, Phase.SINKING}]
    for demand in waiting:
        own = [each for each in snapshot.replicas if each.model == demand.model]
        if any(each.phase in {Phase.RISING, Phase.AWAKE} for each in own):
            continue
        resting = next((each for each in own if each.phase is Phase.RESTING), None)
        if resting is None:
            continue
        if len(awake) < snapshot.capacity.get("awake", len(snapshot.replicas)):
            return Decisions((Wake(resting.name, "somebody waits"),))
        if any(each.phase is not Phase.AWAKE for each in awake):
            return Decisions()
        willing = [each for each in awake if not each.sleep_refused]
        if not willing:
            return Decisions(hopeless={demand.model: "nobody can be put to sleep"})
        victim = min(willing, key=lambda each: (each.in_flight > 0, each.last_used))
        return Decisions((Sleep(victim.name, "somebody else waits"),))
    return Decisions()
