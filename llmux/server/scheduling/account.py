"""How much awake time each model has had, older seconds counting less. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Account:
    """Awake seconds per model as of one moment; a second counts half once `half_life` seconds have gone by."""

    half_life: float = 600.0
    at: float = 0.0
    had: Mapping[str, float] = field(default_factory=dict)

    def until(self, now: float, awake: Iterable[str]) -> Account:
        """Return the account at `now`, where these models have been awake since `at`; one named twice gets double."""
        passed = max(0.0, now - self.at)
        kept = 0.5 ** (passed / self.half_life)
        gained = (1 - kept) * self.half_life / math.log(2)
        had = {model: seconds * kept for model, seconds in self.had.items()}
        for model in awake:
            had[model] = had.get(model, 0.0) + gained
        return Account(self.half_life, max(now, self.at), had)

    def of(self, model: str) -> float:
        """Return what this model has had."""
        return self.had.get(model, 0.0)
