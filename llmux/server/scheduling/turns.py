"""The rules that every policy shares: from a ranking to decisions. Pure.

In this order: each waiting model's turn, as ranked; sleeps after `ttl` and rungs of ladders; then what nobody waits
for: further replicas of models with a queue, and models that are wanted awake. What is under way counts as done, so
that nothing is decided twice, and what will be free is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmux.server.scheduling._ledger import Ledger
from llmux.server.scheduling.amounts import fits, more, plus
from llmux.server.scheduling.hope import why_hopeless
from llmux.server.scheduling.protection import held_up, protection
from llmux.server.scheduling.ranking import NEVER, Ranking
from llmux.server.scheduling.snapshot import Decisions, Demand, Phase, Replica, Snapshot
from llmux.server.scheduling.victims import Loss, Victim, choose, deeper_sleeper, is_busy, price, sleeper

MayGo = Callable[[Replica, Demand], float]


def decide(snapshot: Snapshot, ranking: Ranking) -> Decisions:
    """Return what is to be done now, as the policy ranks it."""
    ledger = Ledger(snapshot)
    ledger.look_again(ranking.look_again_at)
    for model in ranking.turns:
        _turn(ledger, model, ranking)
    for replica in snapshot.replicas:
        if replica.name not in ledger.moved:
            _grow_old(ledger, replica)
    for demand in snapshot.demands.values():
        _extra(ledger, demand)
    return ledger.decisions()


def _turn(ledger: Ledger, model: str, ranking: Ranking) -> None:
    """Bring a waiting model to serve, or at least nearer to that."""
    resting = sorted(ledger.of(model, Phase.RESTING), key=lambda r: (r.costs.wake, r.name))
    demand = ledger.snapshot.demands[model]
    by_hand = demand.waiting == demand.by_hand
    why = "by hand" if by_hand else f"{demand.waiting} waiting"
    if any(ledger.wake(replica, why, by_hand=by_hand) for replica in resting):
        return
    coming = next((r for r in resting if not ledger.lacks(more(r.needs, r.holds))), None)
    if coming is not None:
        ledger.claim(more(coming.needs, coming.holds))
        return
    if resting and _push(ledger, model, resting, may_go_for(model, ranking), Loss.BUSY):
        return
    others_to_come = ledger.of(model, Phase.SINKING, Phase.DOWN)
    if resting and not others_to_come and _is_given_up(ledger, model, resting):
        return
    if resting:
        _hold_up(ledger, model, resting, ranking)
    if model in ranking.keeps_place:
        _keep_place(ledger, resting or list(ledger.of(model, Phase.SINKING)))


def _push(ledger: Ledger, model: str, resting: list[Replica], may_go: MayGo, most: Loss) -> bool:
    """Find victims for one of these replicas, at no greater a loss than this, and let them go."""
    found = _cheapest(ledger, resting, may_go, most)
    if found is None:
        return False
    replica, victims = found
    ledger.make_room(victims, f"makes room for {model}")
    ledger.claim(more(replica.needs, replica.holds))
    return True


def _cheapest(
    ledger: Ledger, resting: list[Replica], may_go: MayGo, most: Loss
) -> tuple[Replica, tuple[Victim, ...]] | None:
    """Return whom it costs least to make room for, and who does.

    First without going to the bottom of any ladder; at last with what itself keeps asleep, where that is in the way.
    """
    victims = list(_victims(ledger, may_go, most, to_the_bottom=False))
    found = _ways(ledger, resting, victims)
    if not found and _some_have_a_ladder(ledger):
        soon = next((r for r in resting if fits(more(r.needs, r.holds), ledger.later)), None)
        if soon is not None:
            return soon, ()
        victims = list(_victims(ledger, may_go, most, to_the_bottom=True))
        found = _ways(ledger, resting, victims)
    return min(
        found or _ways(ledger, resting, victims, itself=True), key=lambda way: price(way[1]), default=None
    )


def _ways(
    ledger: Ledger, resting: list[Replica], victims: list[Victim], *, itself: bool = False
) -> list[tuple[Replica, tuple[Victim, ...]]]:
    ways = (
        (
            r,
            choose(
                more(r.needs, r.holds), ledger.ahead, (v for v in victims if itself or v.replica is not r)
            ),
        )
        for r in resting
    )
    return [(replica, chosen) for replica, chosen in ways if chosen is not None]


def _some_have_a_ladder(ledger: Ledger) -> bool:
    return any(
        r.phase is Phase.AWAKE and r.least is not None and r.least != r.keeps
        for r in ledger.snapshot.replicas
    )


def _victims(ledger: Ledger, may_go: MayGo, most: Loss, *, to_the_bottom: bool) -> Iterator[Victim]:
    """Yield who may go now, at no greater a loss than this; have the others looked at again when they may."""
    now = ledger.snapshot.now
    for replica in ledger.snapshot.replicas:
        victim = None
        if replica.name not in ledger.moved:
            demand = ledger.demand(replica)
            victim = deeper_sleeper(replica, demand, now)
            if replica.phase is Phase.AWAKE:
                at = may_go(replica, demand)
                ledger.look_again(at)
                victim = sleeper(replica, demand, now, to_the_bottom=to_the_bottom) if at <= now else None
        if victim is not None and victim.loss <= most:
            yield victim


def may_go_for(model: str, ranking: Ranking) -> MayGo:
    """Return from when on an awake replica may be put to sleep for this waiting model."""

    def at(replica: Replica, demand: Demand) -> float:
        return protection(model, ranking, replica, demand)[0]

    return at


def _may_go_unasked(replica: Replica, demand: Demand) -> float:
    """Return from when on an awake replica may be put to sleep for one that nobody waits for.

    An idle one keeps its place for as long as taking it away and giving it back would take.
    """
    if demand.pinned or demand.wanted or replica.sleep_refused or is_busy(replica, demand):
        return NEVER
    back = replica.costs.sleep + replica.costs.wake
    return max(replica.since + demand.min_awake, max(replica.since, replica.last_used) + back)


def _is_given_up(ledger: Ledger, model: str, resting: list[Replica]) -> bool:
    """Give the model up where not even everybody else's sleep would make room for one of its replicas; say whether."""
    reasons = [why_hopeless(ledger.snapshot, replica) for replica in resting]
    if all(reasons):
        ledger.give_up(model, str(reasons[0]))
    return all(reasons)


def _hold_up(ledger: Ledger, model: str, resting: list[Replica], ranking: Ranking) -> None:
    lacking = plus({}, *(ledger.lacks(more(r.needs, r.holds)) for r in resting))
    awake = (r for r in ledger.snapshot.replicas if r.phase is Phase.AWAKE and r.name not in ledger.moved)
    if wait := held_up(ledger.snapshot, model, ranking, awake, lacking):
        ledger.hold_up(wait)


def _keep_place(ledger: Ledger, replicas: list[Replica]) -> None:
    if replicas:
        one = replicas[0]
        ledger.claim(more(one.needs, one.keeps if one.phase is Phase.SINKING else one.holds))


def _grow_old(ledger: Ledger, replica: Replica) -> None:
    """Let a replica that nobody has used for its `ttl` sleep, and one that rests go down its ladder."""
    demand, now = ledger.demand(replica), ledger.snapshot.now
    if replica.phase is Phase.AWAKE and not replica.sleep_refused and demand.ttl is not None:
        if demand.pinned or demand.wanted or is_busy(replica, demand):
            return
        at = max(replica.last_used, replica.since) + demand.ttl
        ledger.look_again(at)
        if at <= now:
            _let_go(ledger, sleeper(replica, demand, now), f"no request for {demand.ttl:g} s")
    elif (
        replica.deepen_at is not None
        and not demand.waiting
        and (deeper := deeper_sleeper(replica, demand, now))
    ):
        ledger.look_again(replica.deepen_at)
        if replica.deepen_at <= now:
            _let_go(ledger, deeper, "its ladder says so")


def _let_go(ledger: Ledger, victim: Victim, why: str) -> None:
    """Let it go, and others deeper, if what it needs for that cannot be had otherwise."""
    others = (
        deeper
        for replica in ledger.snapshot.replicas
        if replica is not victim.replica and replica.name not in ledger.moved
        if (deeper := deeper_sleeper(replica, ledger.demand(replica), ledger.snapshot.now))
        if deeper.loss is Loss.RESTING
    )
    room = choose(victim.takes, ledger.ahead, others)
    if room is not None:
        ledger.make_room(room, f"makes room for what {victim.replica.name} keeps asleep")
        ledger.make_room((victim,), why)


def _extra(ledger: Ledger, demand: Demand) -> None:
    """Wake what nobody waits for, or not for want of a first replica; nobody who is wanted himself goes for it."""
    resting = sorted(ledger.of(demand.model, Phase.RESTING), key=lambda r: (r.costs.wake, r.name))
    why = _why_extra(ledger, demand)
    if not resting or not why or any(ledger.wake(replica, why) for replica in resting):
        return
    if any(not ledger.lacks(more(r.needs, r.holds)) for r in resting):
        return
    _push(ledger, demand.model, resting, _may_go_unasked, Loss.IDLE)


def _why_extra(ledger: Ledger, demand: Demand) -> str | None:
    if demand.wanted and not ledger.is_served(demand.model) and not demand.waiting:
        return "it is wanted awake"
    awake = ledger.of(demand.model, Phase.AWAKE)
    rising = ledger.of(demand.model, Phase.RISING)
    if demand.waiting and awake and not rising and all(r.in_flight for r in awake):
        return f"{demand.waiting} waiting, and its other replicas are busy"
    return None
