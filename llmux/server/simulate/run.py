"""A discrete-event simulation of a node under a policy: the same decisions as the server takes, without its clock.

What would be a fault of the server's is looked for after each event: more held than there is, a request lost or
answered twice, a decision that cannot be begun, decisions without end.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import assert_never

from llmux.server.scheduling.account import Account
from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.snapshot import Action, Deepen, Demand, Phase, Policy, Sleep, Snapshot, Wake
from llmux.server.simulate.engine import Engine
from llmux.server.simulate.outcome import Ended, Outcome, Span
from llmux.server.simulate.scenario import Request, Scenario

_MOST_ROUNDS = 4
"""Decisions at one moment, each of which asked for something; more of them would be a busy loop."""


class InvariantBroken(AssertionError):
    """The policy, the shared rules or the simulation did what must never happen."""


def simulate(
    scenario: Scenario, trace: Sequence[Request], policy: Policy, *, jitter: float = 0.0, seed: int = 0
) -> Outcome:
    """Replay `trace` until its last request has ended.

    With `jitter`, each move takes up to that share less than its cost, at random by `seed`. Raises InvariantBroken.
    """
    chance = Random(seed)  # noqa: S311 - a simulation's chance
    return _Run(scenario, trace, policy, lambda cost: cost * (1 - jitter * chance.random())).outcome()


def bound(scenario: Scenario, fair: Fair) -> float:
    """Return how long a request can wait for its model's turn under this policy, on this node."""
    return fair.bound(_Run(scenario, (), fair, float).snapshot())


class _Run:
    def __init__(
        self,
        scenario: Scenario,
        trace: Sequence[Request],
        policy: Policy,
        takes: Callable[[float], float],
    ) -> None:
        self.scenario, self.trace, self.policy, self.takes = scenario, trace, policy, takes
        self.now = 0.0
        self.engines = {
            f"{model.name}/{i}": Engine(f"{model.name}/{i}", model, len(model.rungs) - 1)
            for model in scenario.models.values()
            for i in range(model.replicas)
        }
        self.queues: dict[str, deque[int]] = {name: deque() for name in scenario.models}
        self.turn_ended: dict[str, float] = {}
        self.account = Account(scenario.half_life)
        self.log = Outcome(scenario, trace)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.begun = 0
        self.arrived = 0
        self.look_at: float | None = None

    def outcome(self) -> Outcome:
        for number, request in enumerate(self.trace):
            self.at(request.at, partial(self.arrive, number))
        while self.events and len(self.log.ends) < len(self.trace):
            self.step()
        for number in [n for queue in self.queues.values() for n in queue]:
            self.leave(number, Ended.NEVER)
        for engine in self.engines.values():
            self.move(engine, engine.phase)
        self.log.until = self.now
        self.check()
        return self.log

    def step(self) -> None:
        at = self.events[0][0]
        awake = [e for e in self.engines.values() if e.phase is Phase.AWAKE]
        self.account = self.account.until(at, {e.model.name for e in awake})
        self.log.busy += (at - self.now) * sum(bool(e.in_flight) for e in self.engines.values())
        self.now = at
        while self.events and self.events[0][0] == at:
            heapq.heappop(self.events)[2]()
        self.hand_over()
        self.decide()
        self.check()

    def at(self, when: float, do: Callable[[], None]) -> None:
        self.begun += 1
        heapq.heappush(self.events, (when, self.begun, do))

    def later(self, engine: Engine, cost: float, do: Callable[[Engine], None]) -> None:
        """Do this to the engine after so many seconds, unless it has come into another phase by then."""
        epoch = engine.epoch
        self.at(self.now + cost, lambda: do(engine) if engine.epoch == epoch else None)

    # Requests

    def arrive(self, number: int) -> None:
        self.arrived += 1
        self.queues[self.trace[number].model].append(number)
        if self.scenario.request_timeout is not None:
            self.at(self.now + self.scenario.request_timeout, lambda: self.time_out(number))

    def time_out(self, number: int) -> None:
        if number in self.queues[self.trace[number].model]:
            self.leave(number, Ended.TIMED_OUT)

    def leave(self, number: int, end: Ended) -> None:
        self.queues[self.trace[number].model].remove(number)
        self.log.waits[number] = self.now - self.trace[number].at
        self.note_turn(number)
        self.end(number, end)

    def end(self, number: int, end: Ended) -> None:
        if number in self.log.ends:
            raise InvariantBroken(f"request {number} ended twice: {self.log.ends[number]}, then {end}")
        self.log.ends[number] = end

    def hand_over(self) -> None:
        for name, queue in self.queues.items():
            while queue:
                ready = [e for e in self.engines.values() if e.model.name == name and e.has_room]
                if not ready:
                    break
                self.begin(min(ready, key=lambda e: len(e.in_flight)), queue.popleft())

    def begin(self, engine: Engine, number: int) -> None:
        self.log.waits[number] = self.now - self.trace[number].at
        engine.in_flight.add(number)
        engine.last_used = self.now
        seconds = engine.model.seconds(self.trace[number])
        self.at(self.now + seconds, lambda: self.answer(engine, number))

    def answer(self, engine: Engine, number: int) -> None:
        if number not in engine.in_flight:
            return  # it was cut
        engine.in_flight.remove(number)
        engine.last_used = self.now
        self.end(number, Ended.ANSWERED)
        if engine.phase is Phase.SINKING and not engine.in_flight:
            self.later(engine, self.takes(engine.depth.sleep), self.rest)

    def note_turn(self, number: int) -> None:
        """Note how long this one has waited for its model to serve."""
        name = self.trace[number].model
        since = max(self.trace[number].at, self.turn_ended.get(name, 0.0))
        if not self.is_awake(name):
            self.log.worst_turn[name] = max(self.log.worst_turn.get(name, 0.0), self.now - since)

    def is_awake(self, name: str) -> bool:
        return any(e.model.name == name and e.phase is Phase.AWAKE for e in self.engines.values())

    # Engines

    def move(self, engine: Engine, phase: Phase) -> None:
        if engine.phase is not Phase.RESTING:
            self.log.spans.append(Span(engine.name, engine.model.name, engine.phase, engine.since, self.now))
        engine.become(phase, self.now)

    def carry_out(self, action: Action) -> None:
        engine = self.engines[action.replica]
        match action:
            case Wake():
                self.expect(engine, Phase.RESTING, action)
                self.log.wakes += 1
                self.move(engine, Phase.RISING)
                self.later(engine, self.takes(engine.depth.wake), self.serve)
            case Sleep():
                self.expect(engine, Phase.AWAKE, action)
                engine.rung = 0
                self.move(engine, Phase.SINKING)
                if not any(e.model is engine.model and e.phase is Phase.AWAKE for e in self.engines.values()):
                    self.turn_ended[engine.model.name] = self.now
                if engine.in_flight:
                    self.later(engine, engine.model.drain, self.cut)
                else:
                    self.later(engine, self.takes(engine.depth.sleep), self.rest)
            case Deepen():
                self.expect(engine, Phase.RESTING, action)
                engine.rung += 1
                self.move(engine, Phase.SINKING)
                self.later(engine, self.takes(engine.depth.sleep), self.rest)
            case _:
                assert_never(action)

    def expect(self, engine: Engine, phase: Phase, action: Action) -> None:
        if engine.phase is not phase:
            raise InvariantBroken(f"{action} for a replica that is {engine.phase}")

    def serve(self, engine: Engine) -> None:
        for number in self.queues[engine.model.name]:
            self.note_turn(number)
        engine.rung = -1
        self.move(engine, Phase.AWAKE)

    def cut(self, engine: Engine) -> None:
        if not engine.in_flight:
            return  # drained in time
        for number in tuple(engine.in_flight):
            self.end(number, Ended.CUT)
        engine.in_flight.clear()
        self.later(engine, self.takes(engine.depth.sleep), self.rest)

    def rest(self, engine: Engine) -> None:
        self.move(engine, Phase.RESTING)

    # Decisions

    def decide(self) -> None:
        for _ in range(_MOST_ROUNDS):
            decisions = self.policy(self.snapshot())
            for action in decisions.actions:
                self.carry_out(action)
            given_up = [n for name in decisions.hopeless for n in self.queues[name]]
            for number in given_up:
                self.leave(number, Ended.REFUSED)
            if not decisions.actions and not given_up:
                break
        else:
            raise InvariantBroken(f"the decisions at {self.now} have no end: {decisions.actions}")
        at = decisions.look_again_at
        if at is not None and at <= self.now:
            raise InvariantBroken(f"at {self.now} a decision is to be looked at again at {at}")
        if at is not None and (self.look_at is None or self.look_at <= self.now or at < self.look_at):
            self.look_at = at
            self.at(at, lambda: None)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now=self.now,
            capacity=self.scenario.capacity,
            replicas=tuple(engine.seen() for engine in self.engines.values()),
            demands={name: self.demand(name) for name in self.scenario.models},
        )

    def demand(self, name: str) -> Demand:
        model, queue = self.scenario.models[name], self.queues[name]
        return Demand(
            name,
            waiting=len(queue),
            oldest=self.trace[queue[0]].at if queue else None,
            turn_ended=self.turn_ended.get(name),
            priority=model.priority if queue else 0,
            weight=model.weight,
            awake_lately=self.account.of(name),
            pinned=model.pinned,
            wanted=model.wanted,
            min_awake=model.min_awake,
            ttl=model.ttl,
        )

    def check(self) -> None:
        for name, amount in self.scenario.capacity.items():
            held = sum(e.holds().get(name, 0) for e in self.engines.values())
            if held > amount:
                raise InvariantBroken(f"at {self.now} {held} of {name} are held where there are {amount}")
        known = len(self.log.ends) + sum(map(len, self.queues.values()))
        known += sum(len(e.in_flight) for e in self.engines.values())
        if known != self.arrived:
            raise InvariantBroken(
                f"at {self.now} {self.arrived} requests have come and {known} are accounted for"
            )
