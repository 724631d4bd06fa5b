"""What a new configuration changes of the one that runs."""

from __future__ import annotations

import pytest
from samples import loaded, model, several

from llmux.server.config import Config, ModelConfig, _changes, changes


def between(before, after, **top):
    return changes(loaded(models={"m": model(**before)}), loaded(models={"m": model(**after)}, **top))


def test_the_same_file_changes_nothing():
    assert not changes(loaded(), loaded())
    assert str(changes(loaded(), loaded())) == "nothing has changed"


def test_models_come_and_go_without_touching_the_others():
    found = changes(loaded(models=several(a={}, b={})), loaded(models=several(a={}, c={})))
    assert (found.added, found.removed, found.changed) == (("c",), ("b",), ())
    assert str(found) == "added: c; removed: b"


@pytest.mark.parametrize(
    "after",
    [
        {"weight": 2},
        {"aliases": ["x"]},
        {"request_caps": {"max_tokens": 5}},
        {"eviction": {"process": "stop"}},
        {"timeouts": {"request": 5}},
        {"resources": {"host_memory": 5}},
        {"schedule": [{"cron": "* * * * *", "for": 1}]},
    ],
)
def test_what_is_llmuxs_own_leaves_the_engine_alone(after):
    (change,) = between({}, after).changed
    assert change.restarts == ()


@pytest.mark.parametrize(
    "after",
    [
        {"model_path": "another"},
        {"extra_args": ["--dtype", "float32"]},
        {"env": {"A": "b"}},
        {"port": 8005},
        {"engine": "tiny"},
        {"isolation": {"tmp": True}},
        {"adapters": {"a": "/lora"}},
    ],
)
def test_what_an_engine_was_started_with_starts_it_anew(after):
    (change,) = between({}, after).changed
    assert change.restarts == (0,)


def test_an_engine_on_several_gpus_is_started_anew_where_it_is_to_leave_them_and_was_not_before():
    two, warm = ["-tp", "2"], {"weights": "discard", "process": "keep_running"}
    (change,) = between({"extra_args": two, "eviction": warm}, {"extra_args": two}).changed
    assert change.restarts == (0,)
    (change,) = between({"extra_args": two, "nccl": "as_is"}, {"extra_args": two}).changed
    assert change.restarts == (0,)
    (change,) = between({"nccl": "as_is"}, {}).changed
    assert change.restarts == ()


def test_which_gpus_an_engine_has_only_the_nodes_placement_knows():
    for before, after in (("0", "1"), ("0", None)):
        env = {} if after is None else {"CUDA_VISIBLE_DEVICES": after}
        (change,) = between({"env": {"CUDA_VISIBLE_DEVICES": before}}, {"env": env}).changed
        assert change.restarts == ()
    (change,) = between({}, {"env": {"CUDA_VISIBLE_DEVICES": "GPU-8932f937"}}).changed
    assert change.restarts == (0,)


def test_adapters_come_and_go_while_the_engine_runs():
    (change,) = between({"adapters": {"a": "/lora"}}, {"adapters": {"b": "/lora"}}).changed
    assert change == _changes.ModelChange("m", ("adapters",))


def test_replicas_come_and_go_without_the_others():
    (more,) = between({}, {"replicas": 3}).changed
    assert (more.restarts, more.added, more.removed) == ((), (1, 2), ())
    (fewer,) = between({"replicas": 3}, {"replicas": 1}).changed
    assert (fewer.restarts, fewer.added, fewer.removed) == ((), (), (1, 2))
    (moved,) = between({"replicas": 2}, {"replicas": 2, "ports": [8001, 9000]}).changed
    assert moved.restarts == (1,)


def test_paths_are_named_as_deep_as_they_go():
    (change,) = between({}, {"timeouts": {"request": 5, "stall": 6}, "weight": 3}).changed
    assert change.fields == ("weight", "timeouts.request", "timeouts.stall")
    assert str(change) == "m (weight, timeouts.request, timeouts.stall)"


def test_what_the_top_says_for_all_models_shows_in_them():
    found = changes(loaded(), loaded(vllm_command="/opt/vllm", policy={"request_timeout_secs": 9}))
    (change,) = found.changed
    assert change.fields == ("vllm_command", "timeouts.request")
    assert change.restarts == (0,)
    assert found.node == ("policy.request_timeout_secs",)


def test_the_node_changes_at_once_and_llmux_when_it_starts_again():
    found = changes(loaded(), loaded(max_awake=1, policy={"max_wait_secs": 5}, port=3001, log_dir="/logs"))
    assert found.node == ("policy.max_wait_secs", "max_awake")
    assert found.at_next_start == ("port", "log_dir")
    assert str(found) == (
        "now otherwise: policy.max_wait_secs, max_awake; otherwise when llmux starts again: port, log_dir"
    )


def test_of_each_field_it_is_said_what_its_change_does():
    of_models = [_changes.ENGINE_FIELDS, _changes.PLACE_FIELDS, _changes.LIVE_FIELDS]
    assert sorted(name for each in of_models for name in each) == sorted(ModelConfig.model_fields)
    of_all = [_changes.LLMUX_FIELDS, _changes.NODE_FIELDS, _changes.SPREAD_FIELDS]
    assert sorted(name for each in of_all for name in each) == sorted(Config.model_fields)
