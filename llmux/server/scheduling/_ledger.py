"""What of the node is free, what will be, and what has been decided so far in one round of decisions. No effects."""

from __future__ import annotations

from collections.abc import Iterable

from llmux.server.scheduling.amounts import fits, left, minus, more, plus, short
from llmux.server.scheduling.snapshot import (
    Action,
    Amounts,
    Decisions,
    Deepen,
    Demand,
    Phase,
    Replica,
    Sleep,
    Snapshot,
    Wait,
    Wake,
)
from llmux.server.scheduling.victims import Victim

_PHASES_OF_A_SERVED_MODEL = frozenset({Phase.RISING, Phase.AWAKE})


class Ledger:
    """One round's book-keeping; it lives no longer than the call of a policy."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.free = left(snapshot.capacity, (r.holds for r in snapshot.replicas))
        """What nobody holds at this moment."""
        self.ahead = left(
            snapshot.capacity, (r.keeps if r.phase is Phase.SINKING else r.holds for r in snapshot.replicas)
        )
        """What will be free once all that is under way has arrived, less what is claimed; negative: claimed in vain."""
        self.later = plus(
            self.ahead,
            *(
                {name: n for name, n in more(r.keeps, r.least).items() if name in self.ahead}
                for r in snapshot.replicas
                if r.phase is Phase.SINKING and r.least is not None
            ),
        )
        """The same, once those under way have gone on to the bottom of their ladders."""
        self.moved: set[str] = set()
        """The replicas that something has been decided about."""
        self._actions: list[Action] = []
        self._times: list[float] = []
        self._hopeless: dict[str, str] = {}
        self._waits: list[Wait] = []

    def demand(self, replica: Replica) -> Demand:
        """Return what is wanted of its model."""
        return self.snapshot.demands[replica.model]

    def of(self, model: str, *phases: Phase) -> tuple[Replica, ...]:
        """Return this model's replicas that are in one of these phases and about which nothing is decided yet."""
        return tuple(
            r
            for r in self.snapshot.replicas
            if r.model == model and r.phase in phases and r.name not in self.moved
        )

    def is_served(self, model: str) -> bool:
        """Tell whether a replica of this model serves, or is about to."""
        return any(r.model == model and r.phase in _PHASES_OF_A_SERVED_MODEL for r in self.snapshot.replicas)

    def claim(self, need: Amounts) -> None:
        """Keep this much of what comes for the one that is being made room for."""
        self.ahead = minus_named(self.ahead, need)
        self.later = minus_named(self.later, need)

    def wake(self, replica: Replica, why: str, *, by_hand: bool = False) -> bool:
        """Wake it if what it needs is free now and claimed by nobody."""
        need = more(replica.needs, replica.holds)
        if not fits(need, self.ahead) or not fits(need, self.free):
            return False
        self.claim(need)
        self.free = minus_named(self.free, need)
        self._do(Wake(replica.name, why, by_hand))
        return True

    def make_room(self, victims: Iterable[Victim], why: str) -> None:
        """Let these go, each as soon as what it needs itself for its sleep is free."""
        for victim in victims:
            gives, takes = victim.gives, victim.takes
            given = {name: amount for name, amount in gives.items() if name in self.ahead}
            self.ahead = minus_named(plus(self.ahead, given), takes)
            self.later = minus_named(plus(self.later, given), takes)
            self.moved.add(victim.replica.name)
            if fits(victim.takes_first, self.free):
                self.free = minus_named(self.free, victim.takes_first)
                name = victim.replica.name
                self._do(Deepen(name, why) if victim.replica.phase is Phase.RESTING else Sleep(name, why))

    def lacks(self, need: Amounts) -> Amounts:
        """Return what of this will not be free."""
        return short(need, self.ahead)

    def look_again(self, at: float) -> None:
        """Have the decision made anew at this time, if it is still to come."""
        if self.snapshot.now < at < float("inf"):
            self._times.append(at)

    def give_up(self, model: str, why: str) -> None:
        """Say that this model cannot be had."""
        self._hopeless[model] = why

    def hold_up(self, wait: Wait) -> None:
        """Say what this model's turn waits for."""
        self._waits.append(wait)

    def decisions(self) -> Decisions:
        """Return what has been decided."""
        at = min(self._times, default=None)
        return Decisions(tuple(self._actions), at, self._hopeless, tuple(self._waits))

    def _do(self, action: Action) -> None:
        self._actions.append(action)
        self.moved.add(action.replica)


def minus_named(room: Amounts, taken: Amounts) -> dict[str, int]:
    """Return what remains of the bounded quantities in `room`."""
    return minus(room, {name: amount for name, amount in taken.items() if name in room})
