"""Files of earlier releases of llmux load as they stand, and mean what they meant. The files here are ours, the names theirs."""

from __future__ import annotations

import json

import pytest

from llmux.server import config

BY_LEVEL = """{
  "models": {
    "small": {"model_path": "org/small-14b", "port": 8001, "sleep_level": 1},
    "other": {"model_path": "org/other-12b", "port": 8002, "sleep_level": 2},
    "third": {"model_path": "org/third", "port": 8003, "extra_args": ["--gpu-memory-utilization", "0.9", "--tensor-parallel-size", "2"]},
    "fourth": {"model_path": "org/fourth", "port": 8004, "sleep_level": 4}
  },
  "policy": {"policy_type": "fifo", "request_timeout_secs": 60, "drain_before_switch": true, "sleep_level": 5},
  "checkpoint": {
    "criu_path": "/tmp/criu/criu/criu", "cuda_plugin_dir": "/tmp/criu/plugins/cuda/",
    "images_dir": "/tmp/llmux-checkpoints", "cuda_checkpoint_path": "cuda-checkpoint"
  },
  "port": 3000, "metrics_port": 9090, "vllm_command": "/opt/vllm/bin/vllm"
}"""

BY_EVICTION = """{
  "models": {
    "large": {
      "model_path": "org/large-70b", "port": 8001, "eviction": {"weights": "offload", "process": "keep_running"},
      "extra_args": ["--tensor-parallel-size", "4", "--max-model-len", "4096", "--gpu-memory-utilization", "0.85", "--enforce-eager"]
    },
    "stored": {
      "model_path": "org/stored", "port": 8002, "eviction": {"weights": "discard", "process": "checkpoint"},
      "checkpoint_path": "/tmp/llmux-checkpoints/stored/images"
    }
  },
  "checkpoint": {
    "criu_path": "criu", "images_dir": "/tmp/llmux-checkpoints", "keep_images": true,
    "object_store": {"endpoint": "http://localhost:9200", "bucket": "checkpoints", "access_key": "a", "secret_key": "s"}
  },
  "policy": {
    "policy_type": "time_slice", "request_timeout_secs": 600, "min_active_secs": 10, "max_wait_secs": 60,
    "coalesce_window_ms": 1500, "amortization_factor": 0.25, "tick_interval_ms": 400, "min_quantum_ms": 5000,
    "eviction": {"weights": "offload", "process": "keep_running"}
  },
  "startup_timeout_secs": 600, "port": 3000, "metrics_port": 0, "admin_port": 3001, "warmup": true
}"""


def test_a_file_with_sleep_levels_loads():
    loaded = config.parse(BY_LEVEL)
    evictions = {
        name: f"{model.eviction.weights}, {model.eviction.process}" for name, model in loaded.models.items()
    }
    assert evictions == {
        "small": "offload, keep_running",
        "other": "discard, keep_running",
        "third": "discard, stop",
        "fourth": "retain, checkpoint",
    }
    assert loaded.policy.policy_type == "fifo"
    assert loaded.metrics_port == 9090
    for model in loaded.models.values():
        assert model.timeouts.request == 60
        assert model.vllm_command == ("/opt/vllm/bin/vllm",)
    assert loaded.models["third"].gpu_count({0: "", 1: ""}) == 2
    assert loaded.models["third"].gpu_memory_fraction() == 0.9
    assert loaded.checkpoint.cuda_checkpoint_path == "cuda-checkpoint"
    assert config.remarks(loaded) == ()


def test_a_file_with_evictions_loads():
    loaded = config.parse(BY_EVICTION)
    policy = loaded.policy
    assert (policy.policy_type, policy.max_wait_secs, policy.coalesce_window_ms) == ("time_slice", 60, 1500)
    assert (policy.amortization_factor, policy.tick_interval_ms, policy.min_quantum_ms) == (0.25, 400, 5000)
    for model in loaded.models.values():
        assert (model.timeouts.start, model.timeouts.request, model.min_awake) == (600, 600, 10)
    assert loaded.metrics_port == 0
    assert [remark.split(":")[0] for remark in config.remarks(loaded)] == [
        "warmup",
        "checkpoint.object_store",
    ]


@pytest.mark.parametrize("policy_type", ["fifo", "cost_aware", "time_slice"])
def test_each_of_their_policies_is_known(policy_type):
    models = {"m": {"model_path": "org/m", "port": 8001}}
    loaded = config.parse(json.dumps({"models": models, "policy": {"policy_type": policy_type}}))
    assert loaded.policy.policy_type == policy_type


def test_a_switch_without_a_drain_ends_what_is_in_flight():
    models = {"m": {"model_path": "org/m", "port": 8001}}
    loaded = config.parse(json.dumps({"models": models, "policy": {"drain_before_switch": False}}))
    assert loaded.models["m"].drain.seconds == 0
