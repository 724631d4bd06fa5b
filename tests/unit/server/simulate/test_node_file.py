import json

import pytest

from llmux.server.simulate import node_file
from llmux.server.simulate.scenario import Model, Rung, Scenario, plain


def test_a_node_and_its_models():
    text = json.dumps(
        {
            "capacity": {"gpu": 2},
            "models": {
                "a": {"needs": {"gpu": 1}, "rungs": [{"keeps": {"memory": 3}, "wake": 4}], "weight": 2}
            },
            "request_timeout": 30,
        }
    )
    model = Model("a", {"gpu": 1}, (Rung({"memory": 3}, wake=4.0),), weight=2.0, min_awake=5.0)
    assert node_file.parse(text) == Scenario({"gpu": 2}, {"a": model}, 30.0)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"models": {"a": {"needs": {}}}}, "capacity"),
        ({"capacity": {}, "models": {}}, "models"),
        ({"capacity": {"gpu": -1}, "models": {"a": {"needs": {}}}}, "capacity.gpu"),
        ({"capacity": {}, "models": {"a": {"needs": {}, "colour": 1}}}, "models.a.colour"),
        ({"capacity": {}, "models": {"a": {"needs": {}, "rungs": [{"wake": "x"}]}}}, "models.a.rungs.0.wake"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(data, where):
    faults = node_file.parse(json.dumps(data))
    assert not isinstance(faults, Scenario)
    assert any(fault.startswith(f"{where}: ") for fault in faults)


def test_what_is_no_json():
    (fault,) = node_file.parse("{,")
    assert "not JSON" in fault


def test_a_plain_node_has_places_for_so_many():
    scenario = plain(("a", "b"), 1, Model("", {}, drain=7.0))
    assert scenario.capacity == {"awake": 1}
    assert {m.name: (m.needs, m.drain) for m in scenario.models.values()} == {
        "a": ({"awake": 1}, 7.0),
        "b": ({"awake": 1}, 7.0),
    }
