"""Who makes room for whom: the cheapest set of replicas whose sleep, or deeper sleep, frees what is lacking. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from llmux.server.scheduling.amounts import more, plus, short
from llmux.server.scheduling.snapshot import Amounts, Demand, Phase, Replica


class Loss(IntEnum):
    """How much is lost with a victim, by kind; a greater one is never given up to save lesser ones."""

    RESTING = 0  # sleeps already, and would only sleep deeper
    IDLE = 1
    WANTED = 2  # idle, but preloaded or scheduled
    AWAITED = 3  # sleeps already and would sleep deeper, while requests wait for it
    BUSY = 4


@dataclass(frozen=True)
class Victim:
    """A replica that may give something up."""

    replica: Replica
    arrived: Amounts
    """What it has once it has arrived where it goes now."""
    after: Amounts
    """What it has in the end: the same, or less where it then goes on to the bottom of its ladder."""
    loss: Loss
    cost: float
    """Among losses of one kind: the seconds that getting it back takes, less the longer it has not been used."""

    @property
    def gives(self) -> dict[str, int]:
        """What becomes free."""
        return more(self.replica.holds, self.after)

    @property
    def takes(self) -> dict[str, int]:
        """What it needs more of than now in the end: host memory for its weights, disk for its images."""
        return more(self.after, self.replica.holds)

    @property
    def takes_first(self) -> dict[str, int]:
        """What it needs more of than now to get where it goes now."""
        return more(self.arrived, self.replica.holds)


def is_busy(replica: Replica, demand: Demand) -> bool:
    """Tell whether it answers requests, or some wait for it."""
    return replica.in_flight > 0 or demand.waiting > 0


def sleeper(replica: Replica, demand: Demand, now: float, *, to_the_bottom: bool = False) -> Victim:
    """Return what is lost and gained if this awake replica sleeps."""
    after = replica.least if to_the_bottom and replica.least is not None else replica.keeps
    back = replica.costs.sleep + replica.costs.wake
    if is_busy(replica, demand):
        cost = (replica.costs.drain + back) / (1 + max(0.0, now - replica.since))
        return Victim(replica, replica.keeps, after, Loss.BUSY, demand.weight * cost)
    cost = back / (1 + max(0.0, now - replica.last_used))
    return Victim(
        replica, replica.keeps, after, Loss.WANTED if demand.wanted else Loss.IDLE, demand.weight * cost
    )


def deeper_sleeper(replica: Replica, demand: Demand, now: float) -> Victim | None:
    """Return what is lost and gained if this resting replica goes one rung deeper; None at the bottom."""
    if replica.phase is not Phase.RESTING or replica.deeper is None:
        return None
    cost = demand.weight * replica.costs.wake / (1 + max(0.0, now - replica.last_used))
    return Victim(
        replica, replica.deeper, replica.deeper, Loss.AWAITED if demand.waiting else Loss.RESTING, cost
    )


def choose(need: Amounts, room: Amounts, victims: Iterable[Victim]) -> tuple[Victim, ...] | None:
    """Return the cheapest victims after whom `need` fits into `room`, or None where not even all of them are enough.

    Cheapest is: no greater kind of loss than needed, then the least cost. One that is enough alone is compared with
    what is found by taking the least cost per share of what is lacking first, less those that turn out unnecessary.
    """
    lacking = short(need, room)
    if not lacking:
        return ()
    order = sorted(victims, key=lambda v: (v.loss, v.cost / _share(v, lacking), v.replica.name))
    several = next((found for i in range(len(order)) if (found := _gather(need, room, order[i:]))), None)
    if several is None:
        return None
    singles = ((one,) for one in order if not _lacking(need, room, (one,)))
    return min((several, *singles), key=price)


def price(victims: Sequence[Victim]) -> tuple[Loss, float, int]:
    """Return what is lost with all of these, as something to compare."""
    return max((v.loss for v in victims), default=Loss.RESTING), sum(v.cost for v in victims), len(victims)


def _share(victim: Victim, lacking: Amounts) -> float:
    """Return how much of what is lacking it gives, of the name that it helps most with; never quite nothing."""
    gives = victim.gives
    return max(min(1.0, gives.get(name, 0) / amount) for name, amount in lacking.items()) or 1e-9


def _gather(need: Amounts, room: Amounts, order: Sequence[Victim]) -> tuple[Victim, ...] | None:
    chosen: list[Victim] = []
    rest = list(order)
    while lacking := _lacking(need, room, chosen):
        helper = next((v for v in rest if any(name in v.gives for name in lacking)), None)
        if helper is None:
            return None
        rest.remove(helper)
        chosen.append(helper)
    for victim in sorted(chosen, key=lambda v: (v.loss, v.cost), reverse=True):
        without = [other for other in chosen if other is not victim]
        if not _lacking(need, room, without):
            chosen = without
    return tuple(chosen)


def _lacking(need: Amounts, room: Amounts, chosen: Iterable[Victim]) -> dict[str, int]:
    """Return what is lacking once these have made room; what they take themselves has to fit too.

    On the way down a ladder it is enough if each fits once all the others have arrived: they can go one by one.
    """
    victims = tuple(chosen)
    roomier = _with(room, plus({}, *(v.gives for v in victims)))
    lacking = short(plus(need, *(v.takes for v in victims)), roomier)
    for victim in victims:
        if victim.arrived is not victim.after:
            without = {name: amount - victim.gives.get(name, 0) for name, amount in roomier.items()}
            lacking |= short(victim.takes_first, without)
    return lacking


def _with(room: Amounts, freed: Amounts) -> dict[str, int]:
    return {name: amount + freed.get(name, 0) for name, amount in room.items()}
