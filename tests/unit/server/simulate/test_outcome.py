import pytest

from llmux.server.scheduling.snapshot import Phase
from llmux.server.simulate.outcome import Ended, Outcome, Span, quantile
from llmux.server.simulate.scenario import Request, plain


def test_quantiles_are_values_that_were_there():
    values = [float(n) for n in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert quantile([7.0], 0.5) == 7
    assert quantile([], 0.5) == 0


def test_a_summary_says_what_became_of_the_requests():
    outcome = Outcome(
        plain(("a", "b")),
        (Request(0, "a"), Request(1, "b")),
        ends={0: Ended.ANSWERED, 1: Ended.CUT},
        waits={0: 5.0, 1: 9.0},
        worst_turn={"a": 5.0, "b": 9.0},
        spans=[Span("a/0", "a", Phase.RISING, 0, 5), Span("a/0", "a", Phase.AWAKE, 5, 20)],
        wakes=1,
        busy=5.0,
        until=20.0,
    )
    summary = outcome.summary()
    assert (summary.requests, summary.answered, summary.p50, summary.longest) == (2, 1, 5.0, 9.0)
    assert (summary.worst_turn, summary.starved, summary.switches) == (9.0, "b", 1)
    assert (summary.awake_share, summary.busy_share) == (pytest.approx(0.75), pytest.approx(0.25))
