"""A simulated replica: where it is in its life, what it answers, and what it holds. No effects but its own fields."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmux.server.scheduling.snapshot import Amounts, Costs, Phase, Replica
from llmux.server.simulate.scenario import Model, Rung


@dataclass
class Engine:
    """One replica of a model."""

    name: str
    model: Model
    rung: int
    """Where it rests, or will; -1 once it serves."""
    phase: Phase = Phase.RESTING
    since: float = 0.0
    last_used: float = 0.0
    in_flight: set[int] = field(default_factory=set)
    """The numbers of the requests that it answers."""
    epoch: int = 0
    """Counts its changes of phase, so that an event that was meant for an earlier one is known."""

    @property
    def depth(self) -> Rung:
        """The rung that it rests on, or would."""
        return self.model.rungs[max(0, self.rung)]

    @property
    def has_room(self) -> bool:
        """Tell whether it takes one more request."""
        return self.phase is Phase.AWAKE and len(self.in_flight) < self.model.concurrency

    def become(self, phase: Phase, now: float) -> None:
        """Change phase."""
        self.phase, self.since = phase, now
        self.epoch += 1

    def holds(self) -> Amounts:
        """Return what it has of the node now."""
        match self.phase:
            case Phase.AWAKE | Phase.RISING:
                return self.model.needs
            case Phase.SINKING:
                above = self.model.needs if self.rung == 0 else self.model.rungs[self.rung - 1].keeps
                below = self.depth.keeps
                return {name: max(above.get(name, 0), below.get(name, 0)) for name in {**above, **below}}
            case Phase.RESTING | Phase.DOWN:
                return self.depth.keeps

    def seen(self) -> Replica:
        """Return it as a policy sees it."""
        rungs = self.model.rungs
        deeper = rungs[self.rung + 1].keeps if 0 <= self.rung < len(rungs) - 1 else None
        resting = self.phase is Phase.RESTING
        return Replica(
            name=self.name,
            model=self.model.name,
            phase=self.phase,
            since=self.since,
            last_used=self.last_used,
            in_flight=len(self.in_flight),
            costs=Costs(self.depth.wake, rungs[0].sleep, self.model.drain),
            holds=self.holds(),
            needs=self.model.needs,
            keeps=self.depth.keeps,
            least=rungs[-1].keeps,
            deeper=deeper if resting else None,
            deepen_at=self.since + self.depth.stays
            if resting and deeper is not None and self.depth.stays is not None
            else None,
        )
