"""What the log is told of models that wait for their turn: each rule that holds one up, once in a wait. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import assert_never

from llmux.server.scheduling.snapshot import Rule, Wait

_WORTH_A_LINE = 0.1
"""Seconds."""


class Waits:
    """Which of them have been told. A model's wait is over once it is served, or nobody waits for it."""

    def __init__(self) -> None:
        self._told: dict[str, set[tuple[str, Rule]]] = {}

    def news(self, waits: Iterable[Wait], waiting: Collection[str], now: float, policy: str) -> list[str]:
        """Return what is to be told of these waits, and forget those of models that are not `waiting` for their turn any more."""
        for model in self._told.keys() - set(waiting):
            del self._told[model]
        return [in_words(wait, now, policy) for wait in waits if self._is_new(wait, now)]

    def _is_new(self, wait: Wait, now: float) -> bool:
        told = self._told.setdefault(wait.model, set())
        if (wait.holder, wait.rule) in told or (wait.until is not None and wait.until - now < _WORTH_A_LINE):
            return False
        told.add((wait.holder, wait.rule))
        return True


def in_words(wait: Wait, now: float, policy: str) -> str:
    """Return which model waits, for what, and how long still."""
    still = "" if wait.until is None else f" for {wait.until - now:.1f} s more"
    return f"{wait.model}: waits for {wait.holder}, which {_why(wait.rule, policy)}{still}"


def _why(rule: Rule, policy: str) -> str:
    match rule:
        case Rule.MIN_AWAKE:
            return "is kept awake by its min_awake"
        case Rule.TURN:
            return f"is busy and has its turn by the policy {policy}"
        case Rule.PINNED:
            return "is pinned"
        case Rule.SLEEP_FAILED:
            return "could not be put to sleep, until that is tried again"
        case _:
            assert_never(rule)
