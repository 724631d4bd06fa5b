"""What is said of one model."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import faults, model, one

from llmux.server import config
from llmux.server.config import replica_names
from llmux.server.errors import ConfigInvalid

HERE = dict.fromkeys(range(16), "")


def test_replicas_have_the_ports_after_the_first_or_their_own():
    assert one(replicas=3).replica_ports() == (8001, 8002, 8003)
    assert one(replicas=2, ports=[8001, 9000]).replica_ports() == (8001, 9000)
    assert replica_names("m", 3) == ("m", "m#2", "m#3")


def test_each_replica_has_its_own_port_checkpoint_and_gpus():
    stated = one(replicas=2, checkpoint_path="/seed/images", env={"A": "b"})
    first, second = stated.of_replica(0), stated.of_replica(1, (1, 3))
    assert (first.port, str(first.checkpoint_path), first.env) == (8001, "/seed/images", {"A": "b"})
    assert (second.port, second.checkpoint_path) == (8002, None)
    assert second.env == {"A": "b", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1,3"}
    assert one(env={"CUDA_VISIBLE_DEVICES": "GPU-7"}).of_replica(0, (1,)).env["CUDA_VISIBLE_DEVICES"] == "1"
    assert one(env={"CUDA_VISIBLE_DEVICES": "GPU-7"}).of_replica(0).env == {"CUDA_VISIBLE_DEVICES": "GPU-7"}


def test_what_it_takes_is_read_with_units():
    taken = one(
        resources={"gpus": [1, 0], "gpu_memory": "20GiB", "host_memory": 5, "disk": "1.5 TB"}
    ).resources
    assert taken.gpus == (1, 0)
    assert (taken.gpu_memory, taken.host_memory, taken.disk) == (20 << 30, 5, 1_500_000_000_000)


def test_a_replica_has_as_many_gpus_as_are_said_or_as_the_engine_is_spread_over():
    assert one(resources={"gpus": 2}).gpu_count({}) == 2
    spread = one(extra_args=["-tp", "2", "-dp=2", "--pipeline-parallel-size", "3"])
    assert (spread.gpu_count(HERE), spread.gpu_count({})) == (12, 0)
    assert one(engine="tiny").gpu_count(HERE) == 0
    dealt = one(replicas=2, resources={"gpus": [2, 3]})
    assert dealt.gpu_count(HERE) == 1
    assert [dealt.gpus_of_replica(number, HERE) for number in range(2)] == [(2,), (3,)]


def test_a_schedule_and_adapters_are_read():
    stated = one(
        schedule=[{"cron": "0 8 * * MON-FRI", "for": 36000, "timezone": "UTC"}],
        adapters={"sql": "/lora/sql", "law": {"path": "org/law"}},
    )
    assert stated.schedule[0].seconds == 36000
    assert {name: adapter.path for name, adapter in stated.adapters.items()} == {
        "sql": "/lora/sql",
        "law": "org/law",
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"replicas": 0}, "models.m.replicas: should be greater than or equal to 1"),
        ({"replicas": 3, "ports": [8001]}, "models.m: ports must name one port for each of the 3 replicas"),
        (
            {"ports": [8002]},
            "models.m: ports must name one port for each of the 1 replicas, the first of them `port`",
        ),
        ({"port": 65535, "replicas": 2}, "models.m: replicas: 2 from port 65535 on go beyond port 65535"),
        ({"resources": {"gpus": -1}}, "models.m.resources.gpus: must be how many GPUs"),
        ({"resources": {"gpus": [0, 0]}}, "models.m.resources.gpus: names a GPU twice"),
        ({"resources": {"gpus": True}}, "models.m.resources.gpus: must be how many GPUs"),
        ({"resources": {"gpu_memory": "20 apples"}}, 'models.m.resources.gpu_memory: "20 apples" is no size'),
        (
            {"resources": {"gpu_memory": 1.5}},
            "models.m.resources.gpu_memory: must be a number of bytes or a text",
        ),
        ({"resources": {"disk": 0}}, "models.m.resources.disk: should be greater than 0"),
        (
            {"resources": {"gpu_memory": 1, "gpu_memory_fraction": 0.5}},
            "models.m.resources: gpu_memory and gpu_memory_fraction say the same thing twice",
        ),
        (
            {"resources": {"gpus": 3, "tensor_parallel_size": 2}},
            "models.m: resources.gpus: 3 cannot be shared evenly by engines that take 2 each",
        ),
        (
            {"resources": {"tensor_parallel_size": 2}, "extra_args": ["-tp", "4"]},
            "models.m: resources.tensor_parallel_size is 2, and extra_args say 4; leave it out of resources",
        ),
        (
            {"resources": {"gpu_memory_fraction": 1.1}},
            "gpu_memory_fraction: should be less than or equal to 1",
        ),
        ({"weight": 0}, "models.m.weight: should be greater than 0"),
        ({"ttl": 0}, "models.m.ttl: should be greater than 0"),
        (
            {"schedule": [{"cron": "0 8 * *", "for": 1}]},
            "models.m.schedule.0.cron: '0 8 * *' is no cron expression",
        ),
        (
            {"schedule": [{"cron": "0 25 * * *", "for": 1}]},
            "models.m.schedule.0.cron: '0 25 * * *' is no cron expression (bad hour): it has five fields",
        ),
        ({"schedule": [{"cron": "0 0 31 2 *", "for": 1}]}, "models.m.schedule.0.cron: '0 0 31 2 *' "),
        ({"schedule": [{"cron": "* * * * *"}]}, "models.m.schedule.0.for: is required and missing"),
        (
            {"schedule": [{"cron": "* * * * *", "for": 1, "fro": 2}]},
            "models.m.schedule.0.fro: unknown field; did you mean 'for'?",
        ),
        (
            {"schedule": [{"cron": "* * * * *", "for": 1, "timezone": "Mars/Base"}]},
            "models.m.schedule.0.timezone: is no time zone that is known here",
        ),
        ({"adapters": {"a": {"pth": "x"}}}, "models.m.adapters.a.pth: unknown field; did you mean 'path'?"),
        ({"adapters": {"a": ""}}, "models.m.adapters.a.path: should"),
        ({"aliases": ["a b"]}, "models.m.aliases.0: a name that clients ask for has 1 to 255 letters"),
        ({"aliases": ["a//b"]}, "models.m.aliases.0: a name that clients ask for"),
        (
            {"served_name": "x"},
            "models.m: \"served_name\" is for engine 'command' and 'remote' only",
        ),
        (
            {"request_defaults": {"stream": True}},
            "models.m: request_defaults.stream: that is each client's own",
        ),
        ({"request_caps": {"max_tokens": 0}}, "models.m.request_caps.max_tokens: should be greater than or"),
        ({"max_adapters": 0}, "models.m.max_adapters: should be greater than or equal to 1"),
        ({"restart": {"backoff": 90}}, "models.m.restart: backoff (90 s) is more than backoff_max (60 s)"),
        ({"drain": {"then": "giveup"}}, "did you mean 'give_up'?"),
        ({"sleep_level": 6}, "models.m.sleep_level: 6 is not one of 1, 2, 3, 4 or 5"),
        ({"sleep_level": 1, "eviction": {}}, "models.m: sleep_level and eviction say the same thing twice"),
        (
            {"timeouts": {"drain": 3}, "drain": {"seconds": 3}},
            "models.m: timeouts.drain and drain say the same thing twice",
        ),
        ({"vllm_command": []}, "models.m.vllm_command: must not be empty"),
        ({"vllm_command": 3}, "models.m.vllm_command: should be a valid"),
    ],
)
def test_a_wrong_value_is_refused_with_the_path_to_its_field(fields, expected):
    found = faults({"models": {"m": model(**fields)}})
    assert any(expected in fault for fault in found), found


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("0123456789*/,-L#WMONadx "), max_size=6), min_size=5, max_size=5))
def test_any_text_is_a_cron_expression_or_is_refused(fields):
    text = json.dumps({"models": {"m": model(schedule=[{"cron": " ".join(fields), "for": 1}])}})
    with suppress(ConfigInvalid):
        assert config.parse(text).models["m"].schedule


def test_a_request_may_be_given_fields_of_any_kind():
    defaults = {"temperature": 0.2, "chat_template_kwargs": {"enable_thinking": False}, "stop": ["a", None]}
    read = one(request_defaults=defaults, aliases=["org/name", "gpt-4o:latest"])
    assert read.request_defaults == defaults
    assert read.aliases == ("org/name", "gpt-4o:latest")
