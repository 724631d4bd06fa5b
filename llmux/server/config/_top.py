"""The whole configuration, and its sections that are about no single model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from llmux.server.config._access import AccessConfig, ListenConfig, TlsConfig
from llmux.server.config._eviction import EvictionConfig, SleepLevel
from llmux.server.config._hooks import HookConfig
from llmux.server.config._models import ModelConfig
from llmux.server.config._tracing import TracingConfig
from llmux.server.config._types import (
    AbsolutePath,
    Bytes,
    Count,
    ModelName,
    Port,
    PortOrNone,
    Program,
    Seconds,
    SecondsOrNone,
    Section,
    Text,
    Words,
)


class ObjectStoreConfig(Section):
    """An object store of earlier releases. Checkpoints stay in `images_dir`; this is read and not used."""

    endpoint: Text
    """Its URL."""
    bucket: Text
    """Its bucket."""
    access_key: Text
    """Its access key."""
    secret_key: Text = Field(repr=False)
    """Its secret key."""
    region: Text = "us-east-1"
    """Its region."""


class CheckpointConfig(Section):
    """Where checkpoints lie and what makes them."""

    criu_path: Text = "criu"
    """The program `criu`."""
    cuda_plugin_dir: AbsolutePath | None = None
    """The directory of CRIU's plugin for CUDA. An engine that llmux has taken from its GPUs itself is dumped and restored without it."""
    cuda_checkpoint_path: Program | None = None
    """NVIDIA's program `cuda-checkpoint`; where it is not there, llmux's own does the same through the driver."""
    images_dir: AbsolutePath = Path("/var/lib/llmux/checkpoints")
    """Each model's checkpoint is in MODEL/images here. The same path in every container."""
    keep_images: bool = True
    """A checkpoint that was woken from stays, for the next wake; false: it is removed once the model serves."""
    reuse: bool = True
    """An engine that was woken from a checkpoint is not dumped again to sleep: the checkpoint is still what it needs to
    wake. What it has kept in memory since (caches, counters, responses of the Responses API) is lost; false: it is dumped."""
    object_store: ObjectStoreConfig | None = None
    """Of earlier releases; not used."""


class PolicyConfig(Section):
    """Which model runs, when."""

    policy_type: Literal["fair", "fifo", "cost_aware", "time_slice"] = "fair"
    """`fair` shares awake time by weight and bounds every wait; `fifo`, `cost_aware` and `time_slice` are as in earlier releases."""
    max_wait_secs: Seconds = 60
    """A model that somebody has waited for so long is woken as soon as the node can hold it (fair, cost_aware, time_slice)."""
    request_timeout_secs: Seconds | None = None
    """`timeouts.request` of the models that do not say it."""
    drain_before_switch: bool = True
    """false: `drain` of the models that do not say it is 0 seconds, then end."""
    min_active_secs: SecondsOrNone = 5
    """`min_awake` of the models that do not say it."""
    coalesce_window_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 2000
    """Milliseconds after a first request for a resting model in which more are gathered (cost_aware)."""
    amortization_factor: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 1
    """How much waiting must weigh against the cost of a switch before there is one; 0: none (cost_aware, fair)."""
    tick_interval_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 500
    """Milliseconds between looks at the queues (time_slice)."""
    min_quantum_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 2000
    """Milliseconds of serving that a model has at least before another's turn (time_slice, fair)."""
    eviction: EvictionConfig = EvictionConfig()
    """`eviction` of the models that do not say it."""
    sleep_level: SleepLevel | None = None
    """The same in the short form of earlier releases, 1 to 5."""

    @model_validator(mode="after")
    def _said_once(self) -> PolicyConfig:
        if self.sleep_level is not None and "eviction" in self.model_fields_set:
            raise ValueError("sleep_level and eviction say the same thing twice; leave sleep_level out")
        return self


class NodeResources(Section):
    """What the node has for models. What is not said is found: control group limits, NVML, the disk of `images_dir`."""

    host_memory: Bytes | None = None
    """Host memory for engines, awake and asleep."""
    host_memory_reserve: Bytes | None = None
    """What is left to everybody else of the host memory that is found; an eighth of it, 2 GiB at most, where it is not said."""
    disk: Bytes | None = None
    """Disk space for checkpoints."""
    disk_reserve: Bytes | None = None
    """What is left free of the disk space that is found; a twentieth of it, 10 GiB at most, where it is not said."""
    gpus: dict[Annotated[int, Field(ge=0)], Bytes] | None = None
    """The GPUs for engines: index to memory."""

    @model_validator(mode="after")
    def _said_once(self) -> NodeResources:
        for whole, reserve in (("host_memory", "host_memory_reserve"), ("disk", "disk_reserve")):
            if getattr(self, whole) is not None and getattr(self, reserve) is not None:
                raise ValueError(
                    f"{reserve} is taken off what is found, and {whole} says how much there is; leave one of them out"
                )
        return self


class QueueConfig(Section):
    """The requests that wait for any model."""

    max_waiting: Count = 2048
    """How many, of all models together; a further one is answered with 429 and Retry-After."""


class Config(Section):
    """The whole configuration."""

    models: dict[ModelName, ModelConfig] = Field(min_length=1)
    """The models, by the names that clients ask for."""
    default_model: ModelName | None = None
    """The model of requests that name none; null: they are refused."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Where checkpoints lie and what makes them."""
    policy: PolicyConfig = PolicyConfig()
    """Which model runs, when."""
    mode: Literal["auto", "manual"] = "auto"
    """`auto`: the policy wakes models and puts them to sleep; `manual`: only `/control` does, and a request for a model
    that does not serve is refused. `PUT /control/mode` changes it until it is changed here."""
    resources: NodeResources = NodeResources()
    """What the node has for models."""
    max_awake: Count | None = None
    """How many replicas may be awake together; null: as many as fit."""
    exclusive: dict[ModelName, tuple[ModelName, ...]] = Field(default_factory=dict)
    """Groups of models of which one at most is awake: group to models."""
    queue: QueueConfig = QueueConfig()
    """The requests that wait for any model."""
    hooks: tuple[HookConfig, ...] = ()
    """Programs and web addresses that are told of what happens."""
    tracing: TracingConfig = TracingConfig()
    """OpenTelemetry traces of requests."""
    host: Text = "0.0.0.0"  # noqa: S104 - a container's port is published from outside
    """The address that llmux listens on."""
    port: Port = 3000
    """The port that llmux listens on."""
    metrics_port: PortOrNone = 0
    """A port with /metrics and nothing else, for a Prometheus that may not reach `port`, where they are too; whoever
    reaches it reads them without a key. 0: none."""
    admin_port: Port | None = None
    """A port for all but /v1, which is no longer on `port` then; /v1 and /health are on both."""
    listen: ListenConfig = ListenConfig()
    """How llmux listens, and how long it has patience with a client."""
    tls: TlsConfig | None = None
    """The certificate with which it speaks TLS; null: it speaks plain HTTP."""
    access: AccessConfig = AccessConfig()
    """Who may do what."""
    vllm_command: Words = ("vllm",)
    """`vllm_command` of the models that do not say it."""
    startup_timeout_secs: Seconds | None = None
    """`timeouts.start` of the models that do not say it."""
    warmup: bool = False
    """Of earlier releases; `preload` of a model starts it at once."""
    log_dir: AbsolutePath = Path("/var/log/llmux")
    """Each engine's output, appended to MODEL.log here. The same path in every container: a checkpoint holds it open."""
    state_dir: AbsolutePath = Path("/var/lib/llmux/state")
    """What is kept over a restart of llmux: measured costs and amounts, and where the objects are that engines keep, and whose."""
    shutdown_timeout: Seconds = 120
    """Seconds in which llmux ends once it is told to, sleeps of models included; give Docker as many (`docker stop -t`)."""
    engines_at_exit: Literal["sleep", "stop"] = "sleep"
    """What becomes of running engines when llmux ends: each sleeps as it is configured, or is ended."""
    engines_at_start: Literal["adopt", "end"] = "adopt"
    """What becomes of engines that an earlier llmux left running: they serve on, or are ended."""
    engines_linger: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = 30
    """Seconds that engines wait for the next llmux when theirs is gone without a word; 0: they end at once."""
    watch: bool = False
    """Reload the configuration when its file changes; SIGHUP reloads it in any case."""
