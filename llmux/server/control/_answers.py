"""What the control API says of models, checkpoints and the node. Times are ISO 8601 with their zone, durations seconds."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from llmux.server._model import Process, WakeKind, Weights
from llmux.server.control._form import Answer

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Seconds = Annotated[float, Field(ge=0)]
Bytes = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class StateName(StrEnum):
    """How far a replica is in its life."""

    NOT_STARTED = "not_started"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    GOING_TO_SLEEP = "going_to_sleep"
    ASLEEP = "asleep"
    DEEPENING = "deepening"
    WAKING = "waking"
    FAILED = "failed"


class ProblemTold(Answer):
    """Why something did not work."""

    code: str
    message: str
    hint: str
    """What to do; may be empty."""


class EvictionTold(Answer):
    """How deep a sleep is."""

    weights: Weights
    process: Process


class EngineTold(Answer):
    """An engine that runs."""

    pid: int
    """Inside its sandbox."""
    init_pid: int
    """Of its sandbox's first process, as llmux sees it."""
    started_at: Instant
    """When it was started cold, be it in another container."""
    url: str
    log: str


class CheckpointTold(Answer):
    """A checkpoint on disk."""

    path: str
    bytes: Bytes
    seconds: Seconds
    """How long the sleep took that made it."""
    generation: int
    created_at: Instant


class WakeTold(Answer):
    """How a model last came to serve."""

    kind: WakeKind
    seconds: Seconds
    at: Instant
    reason: str | None
    """Why a cold start was one."""


class MoveTold(Answer):
    """What the scheduler last had a replica do."""

    what: str
    why: str
    at: Instant


class AdapterTold(Answer):
    """An adapter of a model."""

    path: str
    loaded_by: tuple[str, ...]
    """The replicas that serve and have it loaded."""


class ReplicaStatus(Answer):
    """One engine of a model."""

    state: StateName
    becomes: Literal["anew", "gone"] | None
    """What a reload makes of it once it is at rest."""
    since: Instant
    eviction: EvictionTold
    """The sleep that it is in, or would go to."""
    in_flight: Count
    engine: EngineTold | None
    checkpoint: CheckpointTold | None
    checkpoint_problem: ProblemTold | None
    """Why what lies where its checkpoint should be is none."""
    last_wake: WakeTold | None
    last_move: MoveTold | None
    problem: ProblemTold | None
    """What failed last."""
    phase: str | None
    """What its move is at, as an operation tells it."""
    gpu_memory: dict[str, Bytes] | None
    """What its processes have on each GPU, by its index, as NVML tells; null: it does not."""


class ModelStatus(ReplicaStatus):
    """One model: as its foremost replica is, and each replica; `in_flight` and `gpu_memory` are of all."""

    held: Count
    """The requests that wait for it."""
    pinned: bool
    """It sleeps for no other."""
    draining: bool
    """No new request for it is let in, by hand."""
    replicas: dict[str, ReplicaStatus]
    """By name; the first has the model's."""
    adapters: dict[str, AdapterTold]


class XidTold(Answer):
    """A critical error of a GPU, as the driver has told of it."""

    number: int
    """NVIDIA's Xid."""
    meaning: str
    """The number, and what it stands for where llmux knows that."""
    at: Instant


class GpuTold(Answer):
    """A GPU that models may use, as NVML tells; null is what it does not."""

    index: Count
    uuid: str | None
    name: str | None
    memory: Bytes | None
    used: Bytes | None
    others: Bytes | None
    """What processes have that are no engines of this llmux."""
    last_error: XidTold | None
    """Since llmux has been started."""
    problem: ProblemTold | None
    """Why it is lost: no engine is started on it."""


class NodeTold(Answer):
    """What the node has for models."""

    policy: str
    mode: Literal["auto", "manual"]
    """manual: models are woken and put to sleep by hand only."""
    draining: bool
    """No new request for any model is let in, by hand."""
    longest_wait_seconds: Seconds | None
    """What the policy promises, where it promises anything."""
    capacity: dict[str, int]
    held: dict[str, int]
    """What replicas have of it, awake and asleep."""
    gpus: tuple[GpuTold, ...]
    """Empty where NVML finds none."""
    gpus_at: Instant | None
    """When NVML was last asked for these; null: it has not answered yet."""


class ReloadTold(Answer):
    """What the last reload has changed, or why it has changed nothing."""

    at: Instant
    problem: ProblemTold | None
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, tuple[str, ...]]
    """The fields, by model."""
    node: tuple[str, ...]
    """The fields that are about no single model."""
    engines_anew: tuple[str, ...]
    """The replicas whose engines are ended, or started anew."""


class Status(Answer):
    """Everything."""

    models: dict[str, ModelStatus]
    node: NodeTold
    reload: ReloadTold | None


class NamedModel(ModelStatus):
    """One model, with its name."""

    name: str


class Models(Answer):
    """Every model."""

    models: tuple[NamedModel, ...]


class RequestTold(Answer):
    """A request that waits for an engine, or that an engine answers."""

    id: str
    """What it is cancelled by: no other request's."""
    request_id: str
    """Its X-Request-ID, as the log has it: the same, unless its client has chosen it."""
    model: str
    method: str
    path: str
    state: Literal["waiting", "in_flight"]
    since: Instant
    """When it came."""
    seconds: Seconds
    """How long ago that was."""
    replica: str | None
    """Whose engine answers it."""


class Requests(Answer):
    """What waits and what is in flight, the oldest first."""

    requests: tuple[RequestTold, ...]


class Cancelled(Answer):
    """A request that was ended with an error."""

    id: str
    model: str


class CheckpointEntry(Answer):
    """Something that lies among the checkpoints."""

    name: str
    """Of the replica that it is, or was, of."""
    model: str | None
    """null: of none that is configured."""
    kind: Literal["published", "unusable", "orphan", "half_made"]
    """orphan: of a model that is configured no longer."""
    path: str | None
    bytes: Bytes | None
    generation: int | None
    created_at: Instant | None
    age_seconds: Seconds | None
    eviction: EvictionTold | None
    """The sleep that it was made by."""
    use: Literal["none", "asleep", "restoring", "replacing"]
    """asleep: its model sleeps in it, and is woken from it."""
    problem: ProblemTold | None
    """Why it is unusable."""


class Checkpoints(Answer):
    """Every checkpoint, and what lies there that nobody needs."""

    checkpoints: tuple[CheckpointEntry, ...]


class Verified(Answer):
    """Whether a checkpoint is what its manifest says."""

    name: str
    generation: int
    sound: bool
    fault: str | None
    """The first thing that is wrong with it."""
    report: dict[str, object] | None
    """What was captured, as docs/json.md describes it."""
    seconds: Seconds


class Removed(Answer):
    """A checkpoint that is gone."""

    name: str
    bytes: Bytes
    """What it took."""


class Pruned(Answer):
    """What nobody needed."""

    dry_run: bool
    removed: tuple[CheckpointEntry, ...]
    """With `dry_run` what would have been removed."""
    kept: tuple[CheckpointEntry, ...]
    """What somebody uses at this moment, perhaps another llmux."""


class LogLevel(Answer):
    """What llmux logs: this and what is worse."""

    level: Literal["debug", "info", "warning", "error"]


class Slept(Answer):
    """A model that was put to sleep."""

    model: str
    state: StateName
    already: bool
    """It slept before it was asked for, and nothing was done."""
    eviction: EvictionTold
    seconds: Seconds
    checkpoint: CheckpointTold | None
    """What was made, where that is how it sleeps."""


class Woken(Answer):
    """A model that serves."""

    model: str
    state: StateName
    already: bool
    """It served before it was asked for."""
    seconds: Seconds
    last_wake: WakeTold | None
    engine: EngineTold | None


class Switched(Woken):
    """A model that serves, at once."""

    put_to_sleep: tuple[str, ...]
    """The models that served before and do not now."""


class DrainOrder(Answer):
    """Whether new requests are let in."""

    model: str | None
    """null: of all models."""
    draining: bool


class Drained(DrainOrder):
    """No new request is let in, and those that had come are answered."""

    seconds: Seconds


class ModeTold(Answer):
    """Who decides which model serves."""

    mode: Literal["auto", "manual"]


class Pinned(Answer):
    """Whether a model sleeps for others."""

    model: str
    pinned: bool


class EvictionOf(Answer):
    """How deep a model sleeps unless told otherwise."""

    model: str
    eviction: EvictionTold


Result = Slept | Switched | Woken | Drained | Verified | Pruned
"""What an operation comes to."""
