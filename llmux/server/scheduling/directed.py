"""A policy where somebody decides by hand: a switch goes before everything, and in manual mode nothing else is decided. Pure."""

from __future__ import annotations

from dataclasses import replace

from llmux.server.scheduling.ranking import AT_ONCE, NEVER, Ranking, waiting, waits_since
from llmux.server.scheduling.snapshot import Decisions, Demand, Policy, Replica, Snapshot
from llmux.server.scheduling.turns import decide

NOBODY_GOES = "in manual mode nobody makes room by himself: POST /control/sleep or /control/switch does that"


def directed(policy: Policy, snapshot: Snapshot, *, manual: bool) -> Decisions:
    """Decide for this moment: by the policy, unless somebody switches, or all is done by hand."""
    if any(demand.at_once for demand in snapshot.demands.values()):
        asked = _asked_by_hand(snapshot)
        turns = tuple(each.model for each in _in_turn(asked) if each.at_once)
        return _by_hand(decide(asked, Ranking(turns, _at_once, frozenset(turns))))
    if manual:
        asked = _everybody_stays(_asked_by_hand(snapshot))
        turns = tuple(each.model for each in _in_turn(asked))
        decisions = decide(asked, Ranking(turns, _never, frozenset()))
        return replace(_by_hand(decisions), hopeless=dict.fromkeys(decisions.hopeless, NOBODY_GOES))
    return policy(snapshot)


def _by_hand(decisions: Decisions) -> Decisions:
    return replace(decisions, actions=tuple(replace(each, by_hand=True) for each in decisions.actions))


def _in_turn(snapshot: Snapshot) -> list[Demand]:
    return sorted(waiting(snapshot), key=lambda each: (waits_since(each, snapshot.now), each.model))


def _asked_by_hand(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with nothing in it that anybody wants but by hand, and nothing that goes by itself."""
    demands = {
        name: replace(each, waiting=each.by_hand, wanted=False, ttl=None, min_awake=0.0)
        for name, each in snapshot.demands.items()
    }
    replicas = tuple(replace(each, deepen_at=None) for each in snapshot.replicas)
    return replace(snapshot, replicas=replicas, demands=demands)


def _everybody_stays(snapshot: Snapshot) -> Snapshot:
    demands = {name: replace(each, pinned=True) for name, each in snapshot.demands.items()}
    replicas = tuple(replace(each, deeper=None, least=None) for each in snapshot.replicas)
    return replace(snapshot, replicas=replicas, demands=demands)


def _at_once(_model: str, _victim: Replica) -> float:
    return AT_ONCE


def _never(_model: str, _victim: Replica) -> float:
    return NEVER
