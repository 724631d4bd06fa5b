"""From settings to a policy. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from llmux.server.scheduling.cost_aware import CostAware
from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.fifo import Fifo
from llmux.server.scheduling.snapshot import Policy
from llmux.server.scheduling.time_slice import TimeSlice


class PolicyType(StrEnum):
    """The policies by the names that a configuration gives them."""

    FAIR = "fair"
    FIFO = "fifo"
    COST_AWARE = "cost_aware"
    TIME_SLICE = "time_slice"


@dataclass(frozen=True)
class PolicySettings:
    """A configuration's `policy`, by its names; how long a model stays awake at least is the models' own `min_awake`."""

    policy_type: PolicyType = PolicyType.FAIR
    max_wait_secs: float = 60.0
    """Fair: the bound. Time_slice and cost_aware: when a request is not weighed any more."""
    amortization_factor: float = 1.0
    """Fair: how many switches' time a busy model serves. Cost_aware: requests per second of switching."""
    coalesce_window_ms: float = 2000.0
    """Cost_aware: how long more requests may come before a switch for too few of them."""
    tick_interval_ms: float = 500.0
    """Time_slice: what a slice is a multiple of."""
    min_quantum_ms: float = 2000.0
    """Fair and time_slice: what a busy model serves at least."""


def make_policy(settings: PolicySettings) -> Policy:
    """Return the policy that these settings name."""
    max_wait, quantum = settings.max_wait_secs, settings.min_quantum_ms / 1000
    match settings.policy_type:
        case PolicyType.FAIR:
            return Fair(max_wait, quantum, settings.amortization_factor)
        case PolicyType.FIFO:
            return Fifo()
        case PolicyType.COST_AWARE:
            return CostAware(settings.amortization_factor, settings.coalesce_window_ms / 1000, max_wait)
        case PolicyType.TIME_SLICE:
            return TimeSlice(settings.tick_interval_ms / 1000, quantum, max_wait)
        case _:
            assert_never(settings.policy_type)


def name_of_policy(policy: Policy) -> str:
    """Return the name that a configuration gives this policy; of another its type's."""
    names = {
        Fair: PolicyType.FAIR,
        Fifo: PolicyType.FIFO,
        CostAware: PolicyType.COST_AWARE,
        TimeSlice: PolicyType.TIME_SLICE,
    }
    return names.get(type(policy), type(policy).__name__)
