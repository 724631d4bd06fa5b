from llmux.server.scheduling.snapshot import Phase
from llmux.server.simulate.engine import Engine
from llmux.server.simulate.scenario import Model, Rung

LADDER = (Rung({"memory": 4}, wake=1.0, sleep=1.0, stays=10.0), Rung({"disk": 4}, wake=8.0, sleep=2.0))
MODEL = Model("a", {"gpu": 1, "memory": 2}, LADDER)


def _engine(phase, rung):
    return Engine("a/0", MODEL, rung, phase, since=100.0)


def test_what_it_holds_in_each_phase():
    assert _engine(Phase.AWAKE, -1).holds() == MODEL.needs
    assert _engine(Phase.RISING, 1).holds() == MODEL.needs
    assert _engine(Phase.RESTING, 0).holds() == {"memory": 4}
    assert _engine(Phase.SINKING, 0).holds() == {"gpu": 1, "memory": 4}
    assert _engine(Phase.SINKING, 1).holds() == {"memory": 4, "disk": 4}


def test_how_a_policy_sees_it():
    seen = _engine(Phase.RESTING, 0).seen()
    assert (seen.costs.wake, seen.deeper, seen.deepen_at, seen.least) == (
        1.0,
        {"disk": 4},
        110.0,
        {"disk": 4},
    )
    bottom = _engine(Phase.RESTING, 1).seen()
    assert (bottom.costs.wake, bottom.deeper, bottom.deepen_at) == (8.0, None, None)
    awake = _engine(Phase.AWAKE, -1).seen()
    assert (awake.keeps, awake.deeper, awake.costs.sleep) == ({"memory": 4}, None, 1.0)


def test_it_has_room_only_awake_and_below_its_concurrency():
    engine = _engine(Phase.AWAKE, -1)
    assert engine.has_room
    engine.in_flight.update(range(MODEL.concurrency))
    assert not engine.has_room
    assert not _engine(Phase.RISING, 1).has_room


def test_a_change_of_phase_begins_an_epoch():
    engine = _engine(Phase.RISING, 1)
    engine.become(Phase.AWAKE, 105.0)
    assert (engine.phase, engine.since, engine.epoch) == (Phase.AWAKE, 105.0, 1)
