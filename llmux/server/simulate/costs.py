"""Costs that a server has measured, for the models of a simulation. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from llmux.server.scheduling.measured import Estimate, Measured
from llmux.server.simulate.scenario import Model, Scenario


def with_measured(scenario: Scenario, measured: Measured) -> Scenario:
    """Return the scenario with the wakes and sleeps as measured.

    Of each model the kind of sleep counts that its wakes were measured most often from, and is the first rung's; of
    replicas the slowest. A model that was never measured stays as it is.
    """
    return replace(
        scenario, models={name: _measured(model, measured) for name, model in scenario.models.items()}
    )


def _measured(model: Model, measured: Measured) -> Model:
    wakes = list(_of(model, measured, "wake:"))
    if not wakes:
        return model
    kind, _ = max(wakes, key=lambda found: found[1].samples)
    wake = max(estimate.mean for name, estimate in wakes if name == kind)
    sleeps = [estimate.mean for name, estimate in _of(model, measured, "sleep:") if name == kind]
    first, *deeper = model.rungs
    return replace(model, rungs=(replace(first, wake=wake, sleep=max(sleeps, default=first.sleep)), *deeper))


def _of(model: Model, measured: Measured, move: str) -> Iterator[tuple[str, Estimate]]:
    """Yield the kind of sleep and the estimate of each such move of this model's replicas, `a`, `a#2` and so on."""
    for (replica, name), estimate in measured.moves.items():
        if name.startswith(move) and replica.split("#")[0] == model.name:
            yield name.removeprefix(move), estimate
