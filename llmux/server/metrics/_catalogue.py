"""Every figure that llmux has of its own: its name, meaning and labels. Pure; docs/metrics.md is made from it.

Seconds and bytes throughout. A counter's name gets `_total` where it is exposed, a histogram's `_bucket`, `_sum`, `_count`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Buckets in seconds: from an answer at once to the usual end of a request's time."""
MOVES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0)
"""Of sleeps and wakes: from a warm wake of a small model to a cold start of a large one."""


class Kind(StrEnum):
    """What Prometheus calls its type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, eq=False)
class Family:
    """One figure."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def exposed(self) -> str:
        """Return the name that it is asked for by; of a histogram what its parts begin with."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


LABELS = {
    "model": "a configured model's name; empty for a request that named none",
    "replica": "the replica's name: its model's, with `@2` and so on from the second on",
    "api": "the group of paths, such as `chat/completions`; `other` for what is not known",
    "code": "an HTTP status in requests, a problem's stable code in failures",
    "wake": "what the request waited for: `warm` for nothing or a warm wake, `restored`, `cold`; `none` where it got no engine",
    "outcome": "`answered` to the end, `refused` by llmux, `broken_off`, `client_gone`",
    "kind": "of tokens `prompt` or `completion`; of wakes `warm`, `restored` or `cold_start`",
    "state": "as in /control/status",
    "before": "the state that was left",
    "after": "the state that was entered",
    "weights": "what the sleep did with the weights: `retain`, `offload`, `discard`",
    "process": "what it did with the process: `keep_running`, `checkpoint`, `stop`, `cuda_suspend`",
    "result": "`done` or `failed`; of sleeps also `reused`: the checkpoint was there already",
    "phase": "of sleeps `drain`, `engine_sleep`, `cuda_suspend`, `dump`, `end`, and of the dump `frozen` and `capture`; of wakes `restore`, `cuda_resume`, `health`, `wake`",
    "what": "what failed: `sleep`, `wake`, `start`, `engine`, `request`; what was decided: `sleep`, `wake`, `deepen`",
    "who": "the policy's name, or `control` where somebody asked by hand",
    "event": "`made`, `reused` or `removed`",
    "resource": "`host_memory`, `disk`, `gpu_memory:0` and so on in bytes; `awake`, `exclusive:GROUP` in replicas",
    "gpu": "a GPU's index, counted by PCI bus as in `resources.gpus`",
    "version": "llmux's",
}
"""What each label holds."""


def _counter(name: str, meaning: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, meaning, labels)


def _gauge(name: str, meaning: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, meaning, labels)


def _histogram(name: str, meaning: str, *labels: str, buckets: tuple[float, ...] = WAITS) -> Family:
    return Family(name, Kind.HISTOGRAM, meaning, labels, buckets)


REQUESTS = _counter(
    "llmux_requests",
    "Requests for a model that are over, by status and what they waited for",
    "model",
    "api",
    "code",
    "wake",
)
OUTCOMES = _counter("llmux_request_outcomes", "The same by what became of them", "model", "outcome")
WAIT = _histogram(
    "llmux_request_wait_seconds", "From a request's arrival until an engine was given to it", "model", "wake"
)
FIRST_BYTE = _histogram(
    "llmux_time_to_first_token_seconds",
    "From a request's arrival to the first byte of its answer; of a stream that is its first token",
    "model",
    "wake",
)
DURATION = _histogram("llmux_request_seconds", "From a request's arrival to the end of its answer", "model")
TOKENS = _counter(
    "llmux_tokens",
    "Tokens, as answers tell them in `usage`; answers that do not tell are not counted",
    "model",
    "kind",
)
WAITING = _gauge("llmux_requests_waiting", "Requests that wait for an engine of the model now", "model")
IN_FLIGHT = _gauge(
    "llmux_requests_in_flight", "Requests that the engine is answering now", "model", "replica"
)

STATE = _gauge(
    "llmux_replica_state",
    "1 for the state that the replica is in, 0 for all others",
    "model",
    "replica",
    "state",
)
STATE_AGE = _gauge(
    "llmux_replica_state_age_seconds", "How long it has been in that state", "model", "replica"
)
CHANGES = _counter("llmux_state_changes", "Changes of a replica's state", "model", "before", "after")
SWITCHES = _counter("llmux_switches", "Times that the model came to serve after another one had", "model")
SLEEPS = _counter(
    "llmux_sleeps",
    "Sleeps, deeper ones included, by depth and result",
    "model",
    "weights",
    "process",
    "result",
)
SLEEP = _histogram(
    "llmux_sleep_seconds", "What a sleep took, without the drain before it", "model", "process", buckets=MOVES
)
SLEEP_PHASE = _histogram(
    "llmux_sleep_phase_seconds", "What the parts of a sleep took", "model", "phase", buckets=MOVES
)
WAKES = _counter("llmux_wakes", "Wakes and starts by kind and result", "model", "kind", "result")
WAKE = _histogram("llmux_wake_seconds", "What a wake or start took", "model", "kind", buckets=MOVES)
WAKE_PHASE = _histogram(
    "llmux_wake_phase_seconds", "What the parts of a wake or start took", "model", "phase", buckets=MOVES
)
LOSSES = _counter("llmux_engine_losses", "Engines that ended by themselves or hung", "model")
RESTARTS = _counter("llmux_engine_restarts", "Starts of replicas that had failed", "model")
FAILURES = _counter("llmux_failures", "Whatever failed, by the problem's code", "model", "what", "code")
DECISIONS = _counter(
    "llmux_decisions", "What the policy, or somebody by hand, wanted", "model", "who", "what"
)

CHECKPOINT = _gauge(
    "llmux_checkpoint_bytes", "The size of the replica's checkpoint, where it has one", "model", "replica"
)
CHECKPOINT_PROBLEM = _gauge(
    "llmux_checkpoint_unusable",
    "1 where what lies at the checkpoint's place cannot be restored",
    "model",
    "replica",
)
CHECKPOINTS = _counter(
    "llmux_checkpoints", "Checkpoints that were made, used again or removed", "model", "event"
)

CAPACITY = _gauge("llmux_budget_capacity", "What the node has for models", "resource")
HELD = _gauge("llmux_budget_held", "What replicas hold of it, awake and asleep", "resource")
LONGEST_WAIT = _gauge(
    "llmux_longest_wait_bound_seconds",
    "The wait for a model's turn that the policy promises not to exceed, where it does",
)

GPU_MEMORY = _gauge("llmux_gpu_memory_bytes", "The memory that a GPU has, as NVML tells", "gpu")
GPU_USED = _gauge("llmux_gpu_memory_used_bytes", "What of it is taken, by whomever", "gpu")
GPU_OTHERS = _gauge(
    "llmux_gpu_memory_of_others_bytes", "What processes have of it that are no engines of this llmux", "gpu"
)
GPU_OF_REPLICA = _gauge(
    "llmux_replica_gpu_memory_bytes",
    "What the engine's processes have of it, where NVML tells",
    "model",
    "replica",
    "gpu",
)
GPU_LOST = _gauge("llmux_gpu_lost", "1 where the GPU is lost, so that no engine starts on it", "gpu")

RELOADED = _gauge(
    "llmux_config_last_reload_successful", "1 unless the last reload of the configuration was refused"
)
RELOADED_AT = _gauge(
    "llmux_config_last_reload_success_timestamp_seconds",
    "When the configuration in force was read, since the epoch",
)
RELOADS = _counter("llmux_config_reloads", "Reloads of the configuration", "result")
STOPPING = _gauge("llmux_stopping", "1 once llmux has been told to end")
BUILD = _gauge("llmux_build_info", "Always 1", "version")
ENGINE_UP = _gauge(
    "llmux_engine_metrics_up",
    "Of each engine that is awake and has /metrics: 1 where they were had at this moment, 0 where they could not be read in time",
    "model",
    "replica",
)

FAMILIES = (
    *(REQUESTS, OUTCOMES, WAIT, FIRST_BYTE, DURATION, TOKENS, WAITING, IN_FLIGHT),
    *(STATE, STATE_AGE, CHANGES, SWITCHES, SLEEPS, SLEEP, SLEEP_PHASE, WAKES, WAKE, WAKE_PHASE),
    *(LOSSES, RESTARTS, FAILURES, DECISIONS),
    *(CHECKPOINT, CHECKPOINT_PROBLEM, CHECKPOINTS),
    *(CAPACITY, HELD, LONGEST_WAIT),
    *(GPU_MEMORY, GPU_USED, GPU_OTHERS, GPU_OF_REPLICA, GPU_LOST),
    *(RELOADED, RELOADED_AT, RELOADS, STOPPING, BUILD, ENGINE_UP),
)
"""All of them, in the order of docs/metrics.md."""
