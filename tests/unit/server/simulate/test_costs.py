from llmux.server.scheduling.measured import Measured
from llmux.server.simulate.costs import with_measured
from llmux.server.simulate.scenario import Model, Rung, plain

NODE = plain(("a", "b"), 1, Model("", {}, (Rung(wake=5.0, sleep=2.0), Rung(wake=60.0))))


def test_measured_models_have_their_measured_costs_and_others_those_they_had():
    measured = Measured().seen("a", "wake:checkpoint", 8).seen("a", "sleep:checkpoint", 3)
    models = with_measured(NODE, measured).models
    assert models["a"].rungs == (Rung(wake=8.0, sleep=3.0), Rung(wake=60.0))
    assert models["b"] == NODE.models["b"]


def test_the_kind_of_sleep_that_was_measured_most_often_counts_and_the_slowest_replica():
    measured = Measured().seen("a", "wake:stop", 70)
    for seconds in (8, 8):
        measured = measured.seen("a", "wake:checkpoint", seconds)
    measured = measured.seen("a#2", "wake:checkpoint", 9).seen("ab", "wake:checkpoint", 99)
    assert with_measured(NODE, measured).models["a"].rungs[0] == Rung(wake=9.0, sleep=2.0)
