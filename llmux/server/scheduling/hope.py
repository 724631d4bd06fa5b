"""Whether a replica can be had at all, as things stand; and if not, why. Pure."""

from __future__ import annotations

from llmux.server.scheduling.amounts import left, short
from llmux.server.scheduling.snapshot import Amounts, Phase, Replica, Snapshot


def why_hopeless(snapshot: Snapshot, replica: Replica) -> str | None:
    """Return why not even everybody else's deepest sleep would make room for it; None where it would."""
    lacking = short(replica.needs, snapshot.capacity)
    if lacking:
        return "it needs " + ", ".join(
            f"{replica.needs[name]} of {_words(name)} where the node has {snapshot.capacity[name]}"
            for name in sorted(lacking)
        )
    stays = [(r, _stays(r, snapshot)) for r in _others(snapshot, replica)]
    lacking = short(replica.needs, left(snapshot.capacity, (amounts for _, amounts in stays)))
    if not lacking:
        return None
    holders = (r for r, amounts in stays if any(amounts.get(name, 0) > 0 for name in lacking))
    return f"no {', '.join(map(_words, sorted(lacking)))} can be freed: " + "; ".join(
        f"{r.name} {_why_it_stays(r, snapshot)}" for r in holders
    )


def _words(amount: str) -> str:
    """Return what people call an amount, which `_capacity.py` names."""
    match amount.partition(":"):
        case ("awake", _, _):
            return "place among those awake"
        case ("exclusive", _, group):
            return f"place in the group {group}"
        case ("gpu_memory", _, index):
            return f"memory of GPU {index}"
        case _:
            return amount.replace("_", " ")


def _others(snapshot: Snapshot, replica: Replica) -> tuple[Replica, ...]:
    return tuple(r for r in snapshot.replicas if r.name != replica.name)


def _stays(replica: Replica, snapshot: Snapshot) -> Amounts:
    """Return what cannot be taken away from this replica, as things stand."""
    demand = snapshot.demands[replica.model]
    match replica.phase:
        case Phase.DOWN:
            return {}
        case Phase.RISING | Phase.AWAKE if (
            demand.pinned or replica.sleep_refused or _fits_nowhere(replica, snapshot)
        ):
            return replica.holds
        case Phase.RESTING if replica.least is None:
            return replica.holds if replica.deeper is None else replica.deeper
        case _:
            return replica.keeps if replica.least is None else replica.least


def _fits_nowhere(replica: Replica, snapshot: Snapshot) -> bool:
    """Tell whether what it keeps asleep never has room, however deep the others sleep: it cannot be put to sleep."""
    others = (r.keeps if r.least is None else r.least for r in _others(snapshot, replica))
    return bool(short(replica.keeps, left(snapshot.capacity, others)))


def _why_it_stays(replica: Replica, snapshot: Snapshot) -> str:
    if snapshot.demands[replica.model].pinned:
        return "is pinned"
    if _fits_nowhere(replica, snapshot):
        return "keeps more asleep than there is room for"
    return "could not be put to sleep" if replica.sleep_refused else "keeps it even asleep"
