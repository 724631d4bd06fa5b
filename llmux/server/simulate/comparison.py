"""Policies side by side: one trace, several policies, their figures as rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from llmux.server.simulate.outcome import Outcome, Summary

COLUMNS = (
    "policy",
    "p50",
    "p95",
    "p99",
    "longest wait",
    "worst turn",
    "of",
    "wakes",
    "awake",
    "busy",
    "answered",
)


def row(policy: str, summary: Summary) -> tuple[str, ...]:
    """Return a policy's figures in the order of COLUMNS, seconds with one decimal."""
    return (
        policy,
        *(
            f"{seconds:.1f}"
            for seconds in (summary.p50, summary.p95, summary.p99, summary.longest, summary.worst_turn)
        ),
        summary.starved or "-",
        str(summary.switches),
        f"{summary.awake_share:.0%}",
        f"{summary.busy_share:.0%}",
        f"{summary.answered}/{summary.requests}",
    )


def as_data(outcomes: Mapping[str, Outcome], bound: float | None) -> dict[str, object]:
    """Return the figures as JSON can hold them; `bound` is what holds of the policy fair."""
    return {
        "version": 1,
        "bound": bound,
        "policies": {name: asdict(outcome.summary()) for name, outcome in outcomes.items()},
    }


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table for a page of the docs."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
