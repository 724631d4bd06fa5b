"""Random nodes, traces and settings of the policy fair, by seed: what its bound is tried on."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from llmux.server.scheduling.fair import Fair
from llmux.server.simulate.run import bound, simulate
from llmux.server.simulate.scenario import Model, Request, Rung, Scenario

NAMES = ("awake", "gpu:0", "gpu:1", "memory")


@dataclass(frozen=True)
class Case:
    """One trial."""

    scenario: Scenario
    trace: tuple[Request, ...]
    policy: Fair
    jitter: float


def case(seed: int) -> Case:
    """Return the trial of this number: up to six models of one to three resources, up to sixty requests."""
    chance = Random(seed)
    names = chance.sample(NAMES, chance.randint(1, 3))
    capacity = {name: chance.randint(2, 8) for name in names}
    models = {f"m{i}": _model(f"m{i}", capacity, chance) for i in range(chance.randint(2, 6))}
    policy = Fair(
        max_wait=chance.choice((0, 10, 30, 60, 200)),
        quantum=chance.choice((0, 2, 5)),
        amortization_factor=chance.choice((0, 0.5, 1, 3)),
    )
    return Case(Scenario(capacity, models), _trace(tuple(models), chance), policy, chance.choice((0, 0.5, 1)))


def _model(name: str, capacity: dict[str, int], chance: Random) -> Model:
    needs = {resource: chance.randint(0, most) for resource, most in capacity.items()}
    keeps = {resource: amount // 8 for resource, amount in needs.items() if chance.random() < 0.2}
    return Model(
        name,
        needs,
        (Rung(keeps, wake=chance.choice((0, 1, 5, 20)) * chance.random(), sleep=5 * chance.random()),),
        drain=chance.choice((0, 2, 10, 30)),
        concurrency=chance.choice((1, 2, 8)),
        min_awake=chance.choice((0, 0, 5, 10)),
        weight=chance.choice((0.5, 1, 3)),
        priority=chance.choice((0, 0, 1)),
        ttl=chance.choice((None, None, 5)),
    )


def _trace(models: tuple[str, ...], chance: Random) -> tuple[Request, ...]:
    span = chance.choice((20, 60, 200))
    weights = [chance.random() ** 2 for _ in models]
    requests = [
        Request(
            at=span * chance.random(),
            model=chance.choices(models, weights)[0],
            seconds=chance.choice((0.1, 1, 5, 40)) * chance.random(),
        )
        for _ in range(chance.randint(1, 60))
    ]
    return tuple(sorted(requests, key=lambda request: request.at))


def worst_share_of_bound(trial: Case, seed: int) -> float:
    """Return the longest wait for a turn, as a share of what was promised; more than 1 breaks the promise."""
    outcome = simulate(trial.scenario, trial.trace, trial.policy, jitter=trial.jitter, seed=seed)
    assert len(outcome.ends) == len(trial.trace)
    assert "never answered" not in outcome.ends.values()
    longest, promised = max(outcome.worst_turn.values(), default=0.0), bound(trial.scenario, trial.policy)
    return longest / promised if promised else 0.0 if longest < 1e-9 else float("inf")


def laddered(seed: int) -> tuple[Scenario, tuple[Request, ...]]:
    """Return a tight node: models with replicas whose sleeps themselves need memory or disk and go down in rungs."""
    chance = Random(seed)
    capacity = {"gpu": chance.randint(2, 6), "memory": chance.randint(3, 12), "disk": chance.randint(3, 12)}
    models = {f"m{i}": _laddered_model(f"m{i}", capacity, chance) for i in range(chance.randint(2, 6))}
    scenario = Scenario(capacity, models, request_timeout=chance.choice((None, 60.0)))
    return scenario, _trace(tuple(models), chance)


def _laddered_model(name: str, capacity: dict[str, int], chance: Random) -> Model:
    depths = (
        Rung(
            {"memory": chance.randint(0, 5)},
            3 * chance.random(),
            2 * chance.random(),
            chance.choice((None, 5.0)),
        ),
        Rung(
            {"disk": chance.randint(0, 5)},
            8 * chance.random(),
            4 * chance.random(),
            chance.choice((None, 30.0)),
        ),
    )
    return Model(
        name,
        {"gpu": chance.randint(1, capacity["gpu"]), "memory": chance.randint(0, 2)},
        (*(depth for depth in depths if chance.random() < 0.7), Rung({}, 20 * chance.random(), 1.0)),
        drain=chance.choice((0, 5, 20)),
        concurrency=chance.choice((1, 3, 8)),
        min_awake=chance.choice((0, 0, 5)),
        priority=chance.choice((0, 0, 1)),
        replicas=chance.choice((1, 1, 2)),
        ttl=chance.choice((None, 3, 10)),
        wanted=chance.random() < 0.15,
        pinned=chance.random() < 0.05,
    )
