"""From the configuration to a driver: each replica with its rules, what it takes, and what the node has."""

from __future__ import annotations

import asyncio
import json

from llmux.server import config
from llmux.server._capacity import Found, Quantity
from llmux.server._model import NotStarted, Running
from llmux.server._rules import AfterDrain
from llmux.server._setup import make_driver, make_rules

GIB = 1 << 30
NODE = Found(Quantity(64 * GIB, "here"), Quantity(400 * GIB, "there"))


def parsed(**models):
    models = {
        name: {"model_path": "x", "port": 8001 + 10 * number} | fields
        for number, (name, fields) in enumerate(models.items())
    }
    return config.parse(json.dumps({"models": models}))


async def test_a_scheduled_model_is_woken_without_a_request(make_hands):
    stated = parsed(
        m={"schedule": [{"cron": "* * * * *", "for": 3600}]},
        other={"schedule": [{"cron": "0 0 1 1 *", "for": 1}]},
    )
    hands = {name: make_hands() for name in stated.models}
    driver = make_driver(stated, hands, NODE)
    await driver.open()
    try:
        async with asyncio.timeout(30):
            while not isinstance(driver.models["m"].replicas[0].state, Running):  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.005)
        assert isinstance(driver.models["other"].replicas[0].state, NotStarted)
    finally:
        await driver.close()


async def test_each_replica_is_there_with_what_it_takes(make_hands):
    stated = parsed(a={"replicas": 2, "resources": {"host_memory": "3GiB"}}, b={})
    driver = make_driver(stated, {name: make_hands() for name in ("a", "a#2", "b")}, NODE)
    assert {name: [each.name for each in model.replicas] for name, model in driver.models.items()} == {
        "a": ["a", "a#2"],
        "b": ["b"],
    }
    assert driver.models["a"].replicas[1].sizes.awake == {"awake": 1, "host_memory": 3 * GIB}


def test_the_rules_are_as_configured():
    model = parsed(
        m={
            "eviction": {"weights": "retain", "process": "keep_running", "escalate": ["stop"]},
            "drain": {"seconds": 7, "then": "wait"},
            "queue": {"max_waiting": 3},
            "timeouts": {"request": 9, "stall": None},
            "weight": 2,
            "ttl": 60,
        }
    ).models["m"]
    rules = make_rules(model)
    assert [str(each.process) for each in rules.escalation] == ["stop"]
    assert [str(rung.eviction.process) for rung in rules.rungs] == ["keep_running", "checkpoint", "stop"]
    assert (rules.drain.seconds, rules.drain.then) == (7, AfterDrain.WAIT)
    assert (rules.request_timeout, rules.stall) == (9, None)
    assert (rules.max_waiting, rules.weight, rules.ttl, rules.pinned) == (3, 2, 60, False)


def test_an_engine_on_several_gpus_goes_to_disk_by_itself_only_if_it_was_started_for_it(tmp_path):
    warm = {"weights": "discard", "process": "keep_running"}
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15\n")
    for fields, expected in (
        ({}, ["keep_running", "stop"]),
        ({"ladder": {"deepen_after": 60}}, ["keep_running", "checkpoint", "stop"]),
        ({"nccl": "as_is"}, ["keep_running", "checkpoint", "stop"]),
    ):
        two = parsed(m={"engine": "vllm", "extra_args": ["-tp", "2"], "eviction": warm} | fields).models["m"]
        found = make_rules(two, driver=driver).rungs
        assert [str(rung.eviction.process) for rung in found] == expected
        without = make_rules(two, driver=tmp_path / "none").rungs
        assert [str(rung.eviction.process) for rung in without] == ["keep_running", "checkpoint", "stop"]


def test_a_remote_model_is_always_awake_and_started_again_without_end():
    upstream = {"engine": "remote", "remote": {"url": "https://x/v1"}}
    stated = config.parse(json.dumps({"models": {"m": {"model_path": "gpt-x", **upstream}}}))
    rules = make_rules(stated.models["m"])
    assert (rules.pinned, rules.ttl) == (True, None)
    assert rules.restart.limit > 1_000_000
    assert rules.restart.pause(50) == 5.0
