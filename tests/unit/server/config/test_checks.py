"""Faults that no single field has: each with its path and what to do."""

from __future__ import annotations

import pytest
from samples import faults, loaded, model, several


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"models": {"a": model(replicas=3), "b": model(port=8003)}},
            "models.b.port: 8003 is also the port of models.a (replica 3); choose 8004, say",
        ),
        (
            {"models": {"a": model(replicas=2, ports=[8001, 9000]), "b": model(port=9000)}},
            "models.b.port: 9000 is also the port of models.a (replica 2); choose 9001, say",
        ),
        (
            {"models": {"a": model(replicas=2, ports=[8001, 8001])}},
            "models.a.ports.1: 8001 is also the port of models.a; choose 8002, say",
        ),
        (
            {"models": {"a": model()}, "port": 9090, "metrics_port": 9090},
            "metrics_port: 9090 is also the port of llmux itself (port); choose 9091, say",
        ),
        (
            {"models": several(qwen={}, llama={}), "exclusive": {"g": ["qwen", "lama"]}},
            "exclusive.g.1: there is no model 'lama'; did you mean 'llama'?",
        ),
        (
            {"models": several(a={}, b={}), "exclusive": {"g": ["a", "b"], "h": ["a", "g"]}},
            "exclusive.h.1: there is no model 'g': that is a group's name, and groups name models only",
        ),
        (
            {"models": several(a={"pinned": True}, b={"pinned": True}), "exclusive": {"g": ["a", "b"]}},
            "exclusive.g.0: a is pinned, so that once it is awake b could never be",
        ),
        (
            {"models": several(a={}, b={"replicas": 2}), "exclusive": {"g": ["a", "b"]}},
            "exclusive.g.1: b has 2 replicas, which would exclude one another",
        ),
        ({"models": several(a={}), "exclusive": {"g": ["a", "a"]}}, "exclusive.g: names a twice"),
        (
            {"models": several(a={}, b={"aliases": ["org/a", "a"]})},
            "models.b.aliases.1: 'a' is a model's name already; leave the alias out",
        ),
        (
            {"models": several(a={"aliases": ["x"]}, b={"aliases": ["x"]})},
            "models.b.aliases.0: 'x' is an alias of a already; a name stands for one model",
        ),
        (
            {"models": several(a={"adapters": {"x": "/lora"}}, b={"aliases": ["x"]})},
            "models.b.aliases.0: 'x' is an adapter of a; rename one of them",
        ),
        (
            {"models": several(qwen={}), "default_model": "qwn"},
            "default_model: there is no model 'qwn'; did you mean 'qwen'?",
        ),
        (
            {"models": several(a={}), "exclusive": {"g": ["a"]}},
            "exclusive.g: one model alone excludes nobody",
        ),
        (
            {"models": several(a={}, b={"adapters": {"a": "/lora"}})},
            "models.b.adapters.a: 'a' is a model's name too",
        ),
        (
            {"models": several(a={"adapters": {"x": "/lora"}}, b={"adapters": {"x": "/lora"}})},
            "models.b.adapters.x: 'x' is an adapter of a too; rename one of them",
        ),
        (
            {"models": several(a={"pinned": True, "replicas": 2}), "max_awake": 1},
            "max_awake: 1 is less than the 2 replicas of the pinned models; raise it to 2",
        ),
        (
            {"models": several(a={"pinned": True}, b={}), "max_awake": 1},
            "max_awake: 1 is taken by the pinned models (a: 1), so that b could never be awake; raise it to 2 or more",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(value, expected):
    found = faults(value)
    assert any(expected in fault for fault in found), found


def test_other_faults_do_not_hide_these():
    found = faults(
        {
            "models": {"a": model(prot=1), "b": model(adapters={"a": 3})},
            "exclusive": {"g": ["a", "c"]},
            "policy": {"policy_type": "fare"},
        }
    )
    assert [fault.split(": ")[0] for fault in found] == [
        "models.a.prot",
        "models.b.adapters.a",
        "policy.policy_type",
        "models.b.port",
        "models.b.adapters.a",
        "exclusive.g.1",
    ]
    assert "did you mean 'fair'?" in found[2]


@pytest.mark.parametrize(
    "value",
    [{"models": []}, {"models": {"a": []}}, {"models": {"a": {}}, "exclusive": [1]}, {"exclusive": {"g": 1}}],
)
def test_what_is_no_configuration_at_all_is_no_trouble(value):
    assert faults(value)


def test_what_goes_together_is_taken():
    stated = loaded(
        models=several(a={"pinned": True}, b={}, c={"adapters": {"x": "/lora"}}),
        exclusive={"g": ["b", "c"]},
        max_awake=2,
        metrics_port=0,
    )
    assert stated.exclusive == {"g": ("b", "c")}
