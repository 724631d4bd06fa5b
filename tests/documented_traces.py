"""The traces of docs/scheduling.md, on which the policies are compared; each in the order of its table."""

from __future__ import annotations

from dataclasses import dataclass

from llmux.server.scheduling.policies import PolicySettings, PolicyType, make_policy
from llmux.server.simulate import generate
from llmux.server.simulate.comparison import COLUMNS, markdown, row
from llmux.server.simulate.outcome import Summary
from llmux.server.simulate.run import simulate
from llmux.server.simulate.scenario import Model, Request, Rung, Scenario, plain
from llmux.server.simulate.timeline import draw

BEGIN, END = "<!-- generated: make scheduling -->", "<!-- end of what is generated -->"
LIKE = Model("", {}, (Rung(wake=5.0, sleep=2.0),), drain=30.0, min_awake=5.0, concurrency=16)
ABC = (("a", 1.0), ("b", 1.0), ("c", 1.0))
SHORT = (("s1", 1.0), ("s2", 1.0), ("s3", 1.0))


@dataclass(frozen=True)
class Documented:
    """One trace and the node that it comes to."""

    title: str
    says: str
    scenario: Scenario
    trace: tuple[Request, ...]

    def summaries(self) -> dict[str, Summary]:
        """Return each policy's figures, fair's first; all policies have their default settings."""
        return {
            str(name): simulate(self.scenario, self.trace, make_policy(PolicySettings(name))).summary()
            for name in PolicyType
        }


def _documented(
    title: str, says: str, awake: int, trace: tuple[Request, ...], like: Model = LIKE
) -> Documented:
    models = tuple(sorted({request.model for request in trace}))
    return Documented(title, says, plain(models, awake, like), trace)


def traces() -> tuple[Documented, ...]:
    """Return them all."""
    return (
        _documented(
            "Poisson, few models",
            "Three models, one of which fits awake; a request every two seconds, answers of two seconds.",
            1,
            generate.poisson(generate.Mix(ABC, 2.0), generate.steady(0.5), 1800, seed=1),
        ),
        _documented(
            "Zipf, twenty models",
            "Twenty models, three of which fit awake; the k-th is asked for in proportion to 1/k, a request a second.",
            3,
            generate.poisson(generate.Mix(generate.zipf(20), 2.0), generate.steady(1.0), 600, seed=2),
        ),
        _documented(
            "Bursts",
            "Three models, one awake; three requests a second for thirty seconds every five minutes, hardly any between.",
            1,
            generate.poisson(generate.Mix(ABC, 2.0), generate.bursts(0.05, 3.0, 300, 30), 3600, seed=4),
        ),
        _documented(
            "Diurnal",
            "Six models by Zipf, two awake; from a request in twenty seconds at night to nearly one a second at noon.",
            2,
            generate.poisson(generate.Mix(generate.zipf(6), 3.0), generate.diurnal(0.5, 1800), 3600, seed=5),
        ),
        _documented(
            "Alternation",
            "Two models, one awake; every second a request, for the one and the other in turn.",
            1,
            generate.alternation(("a", "b"), 1.0, 900, answer=0.5),
        ),
        _documented(
            "Long and short",
            "Four models, one awake; one has few requests of twenty seconds, the others many of half a second.",
            1,
            generate.merged(
                generate.poisson(generate.Mix((("long", 1.0),), 20.0), generate.steady(0.03), 1800, seed=6),
                generate.poisson(generate.Mix(SHORT, 0.5), generate.steady(0.3), 1800, seed=7),
            ),
        ),
        _documented(
            "Busy and rare",
            "Two models, one awake; two requests a second for the one, one in a hundred seconds for the other.",
            1,
            generate.merged(
                generate.poisson(generate.Mix((("busy", 1.0),), 2.0), generate.steady(2.0), 1800, seed=8),
                generate.poisson(generate.Mix((("rare", 1.0),), 2.0), generate.steady(0.01), 1800, seed=9),
            ),
        ),
        _documented(
            "More than fits",
            "Three models, one awake; more requests than its engine takes at once, four, so that queues remain.",
            1,
            generate.poisson(generate.Mix(ABC, 2.0), generate.steady(1.1), 900, seed=10),
            Model("", {}, (Rung(wake=5.0, sleep=2.0),), drain=30.0, min_awake=5.0, concurrency=4),
        ),
    )


def tables() -> str:
    """Return the comparison as the page has it."""
    parts = []
    for one in traces():
        parts.append(f"### {one.title}\n\n{one.says} {len(one.trace)} requests.\n\n")
        parts.append(
            markdown(COLUMNS, (row(name, summary) for name, summary in one.summaries().items())) + "\n"
        )
    return "".join(parts)


def picture() -> str:
    """Return the page's picture: the last trace under fair and under fifo."""
    one = traces()[-1]
    policies = {str(p): make_policy(PolicySettings(p)) for p in (PolicyType.FAIR, PolicyType.FIFO)}
    return draw({name: simulate(one.scenario, one.trace, policy) for name, policy in policies.items()})


def page_with(page: str, generated: str) -> str:
    """Return the page with its generated part replaced."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n" + generated + END + rest.split(END)[1]
