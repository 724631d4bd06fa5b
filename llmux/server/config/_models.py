"""What is said of one model: the section `models.NAME` and its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, assert_never

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, field_validator, model_validator

from llmux.server._gpu_names import BY_BUS, ORDER, VISIBLE, Here
from llmux.server._rules import Rung
from llmux.server.config import _arguments
from llmux.server.config._calls import CallsConfig, RemoteConfig
from llmux.server.config._engines import ABILITIES, EngineName, field_faults
from llmux.server.config._eviction import EvictionConfig, LadderConfig, SleepLevel, ladder_fault, rungs
from llmux.server.config._gpus import Gpus, Stated, said
from llmux.server.config._requests import Fields, RequestCaps, defaults_fault
from llmux.server.config._types import (
    AbsolutePath,
    Alias,
    Argument,
    Bytes,
    Count,
    LongSeconds,
    ModelName,
    Port,
    Seconds,
    SecondsOrNone,
    Section,
    Text,
    TimeZone,
    Variable,
    Words,
)

_CRON = 'it has five fields: minute, hour, day of the month, month, day of the week, as in "0 8 * * MON-FRI"'


def _cron(text: str) -> str:
    if len(text.split()) != 5:
        raise ValueError(f"{text!r} is no cron expression: {_CRON}")
    try:
        next(CronSim(text, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(f"{text!r} is no cron expression ({str(error).lower()}): {_CRON}") from error
    except (StopIteration, AssertionError, ValueError) as error:
        raise ValueError(f"{text!r} names no time that ever comes: {_CRON}") from error
    return text


Cron = Annotated[str, AfterValidator(_cron)]


class IsolationConfig(Section):
    """What an engine has of its own beside its PID and mount namespaces."""

    shm: bool = True
    """A `/dev/shm` of its own."""
    tmp: bool = False
    """A `/tmp` of its own."""


class Timeouts(Section):
    """Bounds in seconds."""

    start: Seconds = 900
    """A cold start, from the engine's spawn to its first good /health."""
    health: Seconds = 5
    """One answer of /health."""
    drain: Seconds | None = None
    """The short form of `drain` with `then` give_up."""
    sleep: Seconds = 120
    """Each of the engine's own steps on the way to sleep."""
    wake: Seconds = 300
    """Each of the engine's own steps on the way back."""
    request: Seconds = 600
    """From the arrival of a request to the first byte of its answer, waiting for the model included."""
    stall: Seconds | None = 120
    """A streamed answer that brings no byte for so long is taken for dead, and ended with an error; null: never."""


class DrainConfig(Section):
    """What becomes of the requests in flight when a model is to sleep."""

    seconds: SecondsOrNone = 120
    """How long they may go on before `then`."""
    then: Literal["end", "wait", "give_up"] = "end"
    """After that: `end` ends them with an error, `wait` goes on waiting, `give_up` lets the model serve on instead."""


class RestartConfig(Section):
    """How often an engine that ends by itself, hangs or does not start is started again."""

    limit: Annotated[int, Field(ge=0)] = 5
    """How many restarts in a row; after that the model has failed, until it is woken by hand."""
    backoff: SecondsOrNone = 1
    """Seconds before the second restart in a row, the first is at once; each further one waits twice as long."""
    backoff_max: SecondsOrNone = 60
    """The longest wait before a restart."""
    window: Seconds = 600
    """An engine that has served so long without ending starts with a clean slate."""

    @model_validator(mode="after")
    def _in_order(self) -> RestartConfig:
        if self.backoff > self.backoff_max:
            raise ValueError(
                f"backoff ({self.backoff:g} s) is more than backoff_max ({self.backoff_max:g} s); raise the latter"
            )
        return self


class ModelQueueConfig(Section):
    """The requests that wait for a model to serve."""

    max_waiting: Count = 512
    """How many; a further one is answered with 429 and Retry-After."""


class ScheduleConfig(Section):
    """A time at which a model is to be awake without a request."""

    cron: Cron
    """When that begins: minute, hour, day of the month, month, day of the week."""
    seconds: Annotated[LongSeconds, Field(alias="for")]
    """How many seconds it lasts."""
    timezone: TimeZone = "UTC"
    """The time zone of `cron`, by its IANA name."""


class ModelResources(Section):
    """What one replica of a model takes of the node. What is not said is measured, or read from `extra_args`."""

    gpus: Gpus | None = None
    """How many GPUs, or which, by index as nvidia-smi has it; CUDA_VISIBLE_DEVICES of `env` says the same. For vLLM its tensor times pipeline times data parallel size where there are GPUs, else none."""
    gpu_memory: Bytes | None = None
    """Memory that it takes of each of its GPUs."""
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """The same as a part of the GPU's memory; --gpu-memory-utilization of `extra_args`, else all of it."""
    tensor_parallel_size: Count | None = None
    """How many GPUs share a layer; --tensor-parallel-size (-tp) of `extra_args`, else 1."""
    host_memory: Bytes | None = None
    """Host memory when awake; measured where it is not said."""
    host_memory_asleep: Bytes | None = None
    """Host memory when asleep with its process alive; measured, or as much as awake, where it is not said."""
    gpu_memory_asleep: Bytes | None = None
    """What it keeps of each GPU when asleep with its process running and without its weights there; measured where it is not said."""
    disk: Bytes | None = None
    """Disk space of its checkpoint; measured, or as much as its host memory, where it is not said."""

    @model_validator(mode="after")
    def _one_of_them(self) -> ModelResources:
        if self.gpu_memory is not None and self.gpu_memory_fraction is not None:
            raise ValueError(
                "gpu_memory and gpu_memory_fraction say the same thing twice; leave one of them out"
            )
        return self


class AdapterConfig(Section):
    """A LoRA adapter that is a model of its own to clients, and shares its base's engine."""

    path: Text
    """Where it is: a directory or a name that the engine knows."""


class ModelConfig(Section):
    """One model and its engine."""

    model_path: Text
    """What to serve: a name in the model cache, or a directory."""
    port: Port = 0
    """The engine's port on the loopback address; further replicas have the ports after it. Required but for `remote`."""
    ports: tuple[Port, ...] = ()
    """The replicas' ports, where they are not `port`, `port` + 1, ...: as many as there are replicas, the first is `port`."""
    replicas: Count = 1
    """How many engines serve it; requests are spread over those that are awake."""
    engine: EngineName = "vllm"
    """`vllm`, `sglang`, `llama.cpp`, `tiny` (ours, for demos and tests), `command` (any server with an OpenAI-compatible API) or `remote` (one that runs elsewhere)."""
    vllm_command: Words = ("vllm",)
    """The program instead of `vllm`; a list where it takes words before `serve`."""
    program: Words | None = None
    """For engines `sglang` and `llama.cpp`: the program instead of `python3 -m sglang.launch_server` or `llama-server`."""
    command: tuple[Text, ...] = ()
    """For engine `command`: the program and its arguments; {port}, {model_path} and {name} are filled in."""
    calls: CallsConfig = CallsConfig()
    """For engine `command`: what it is asked over HTTP."""
    remote: RemoteConfig | None = None
    """For engine `remote`: where it is, and the key for it."""
    extra_args: tuple[Argument, ...] = ()
    """Further arguments of the engine."""
    env: dict[Variable, Argument] = Field(default_factory=dict)
    """Further environment of the engine."""
    nccl: Literal["safe", "as_is"] = "safe"
    """For several GPUs that `eviction` takes an engine off: `safe` starts it so that this may work (docs/gpu.md), `as_is` as `env` and `extra_args` say."""
    eviction: EvictionConfig = EvictionConfig()
    """How deep it sleeps; `policy.eviction` where it is not said."""
    sleep_level: SleepLevel | None = None
    """The same in the short form of earlier releases, 1 to 5."""
    ladder: LadderConfig = LadderConfig()
    """How it goes deeper while it sleeps."""
    checkpoint_path: AbsolutePath | None = None
    """Where the first replica's checkpoint is, if not `images_dir/MODEL/images`."""
    resources: ModelResources = ModelResources()
    """What one replica takes of the node."""
    pinned: bool = False
    """It is woken when llmux starts, and sleeps neither for another model nor by its `ttl`."""
    preload: bool = False
    """It is woken when llmux starts."""
    ttl: LongSeconds | None = None
    """Seconds without a request after which it sleeps by itself; null: only for another."""
    priority: int = 0
    """Requests of a model with more go first."""
    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1
    """Its share of awake time among models that want it, relative to the others'."""
    min_awake: SecondsOrNone = 5
    """Seconds that it stays awake once it is; `policy.min_active_secs` where it is not said."""
    schedule: tuple[ScheduleConfig, ...] = ()
    """When it is to be awake without a request."""
    adapters: dict[ModelName, AdapterConfig] = Field(default_factory=dict)
    """LoRA adapters: the name that clients ask for, and where the adapter is."""
    max_adapters: Count = 4
    """How many of them the engine has loaded at a time; the least recently used one goes."""
    aliases: tuple[Alias, ...] = ()
    """Further names that clients may ask for it by: the engine is asked by the served name, and answers show the alias."""
    served_name: Text | None = None
    """For engines `command` and `remote`: what they call it, where that is another name than llmux's; for `remote` its `model_path` else. The others are told llmux's."""
    request_defaults: Fields = Field(default_factory=dict)
    """Fields of requests that generate text, for those that do not say them; objects are joined field by field."""
    request_caps: RequestCaps = RequestCaps()
    """Bounds on what requests that generate text may ask for."""
    queue: ModelQueueConfig = ModelQueueConfig()
    """The requests that wait for it."""
    drain: DrainConfig = DrainConfig()
    """What becomes of its requests in flight when it is to sleep."""
    restart: RestartConfig = RestartConfig()
    """How often its engine is started again."""
    isolation: IsolationConfig = IsolationConfig()
    """What its engine has of its own."""
    timeouts: Timeouts = Timeouts()
    """Bounds in seconds."""

    @field_validator("adapters", mode="before", json_schema_input_type=dict[str, AdapterConfig | str])
    @classmethod
    def _paths(cls, adapters: object) -> object:
        if not isinstance(adapters, dict):
            return adapters
        return {name: {"path": each} if isinstance(each, str) else each for name, each in adapters.items()}

    @model_validator(mode="after")
    def _engine_fits(self) -> ModelConfig:
        if faults := tuple(field_faults(self.engine, self.model_fields_set)):
            raise ValueError("; ".join(faults))
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> ModelConfig:
        if fault := defaults_fault(self.request_defaults):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _ports_fit(self) -> ModelConfig:
        if self.ports and (len(self.ports) != self.replicas or self.ports[0] != self.port):
            raise ValueError(
                f"ports must name one port for each of the {self.replicas} replicas, the first of them `port` ({self.port})"
            )
        if not self.ports and self.port + self.replicas - 1 > 65535:
            raise ValueError(
                f"replicas: {self.replicas} from port {self.port} on go beyond port 65535; choose a lower port"
            )
        return self

    @model_validator(mode="after")
    def _said_once(self) -> ModelConfig:
        given = self.model_fields_set
        if self.sleep_level is not None and "eviction" in given:
            raise ValueError("sleep_level and eviction say the same thing twice; leave sleep_level out")
        if self.timeouts.drain is not None and "drain" in given:
            raise ValueError("timeouts.drain and drain say the same thing twice; leave timeouts.drain out")
        return self

    @model_validator(mode="after")
    def _gpus_fit(self) -> ModelConfig:
        said, stated = self.resources.tensor_parallel_size, _arguments.tensor_parallel_size(self.extra_args)
        if said and stated and said != stated:
            raise ValueError(
                f"resources.tensor_parallel_size is {said}, and extra_args say {stated}; leave it out of resources"
            )
        gpus, together = self.resources.gpus, self.ranks
        count = len(gpus) if isinstance(gpus, tuple) else gpus
        if count and count % together:
            raise ValueError(
                f"resources.gpus: {count} cannot be shared evenly by engines that take {together} each (tensor times pipeline times "
                f"data parallel size); say {-(-count // together) * together}"
            )
        return self

    @property
    def ranks(self) -> int:
        """How many GPUs one engine is spread over, where it runs on them."""
        tensor = self.resources.tensor_parallel_size or _arguments.tensor_parallel_size(self.extra_args) or 1
        return tensor * _arguments.copies_and_stages(self.extra_args)

    @property
    def visible(self) -> str | None:
        """The CUDA_VISIBLE_DEVICES of `env`; None where none is said, or no GPU is counted for it."""
        stated = self.resources.gpus
        counted = ABILITIES[self.engine].takes_gpus if stated is None else stated != 0
        return self.env.get(VISIBLE) if counted else None

    def gpus(self, here: Here) -> Stated:
        """Return how many GPUs are said for all replicas, or which, where these are here."""
        return said(self.resources.gpus, self.visible, here)

    def gpu_count(self, here: Here) -> int:
        """Return how many GPUs one replica takes, where these are here."""
        match gpus := self.gpus(here):
            case None:
                return self.ranks if ABILITIES[self.engine].takes_gpus and here else 0
            case int():
                return gpus
            case tuple():
                return len(self.gpus_of_replica(0, here))
            case _:
                assert_never(gpus)

    def gpus_of_replica(self, number: int, here: Here) -> tuple[int, ...]:
        """Return the GPUs that are said for one replica, counted from 0; none where only how many is said.

        A list that has as many as all replicas take together is dealt out; any other is every replica's.
        """
        listed = self.gpus(here)
        if not isinstance(listed, tuple):
            return ()
        each = self.ranks
        dealt = len(listed) == each * self.replicas
        return listed[number * each : (number + 1) * each] if dealt else listed

    @property
    def runs_here(self) -> bool:
        """Whether llmux starts and ends its engine."""
        return ABILITIES[self.engine].runs_here

    def gpu_memory_fraction(self) -> float:
        """Return the part of a GPU's memory that it takes, where bytes are not said."""
        return self.resources.gpu_memory_fraction or _arguments.gpu_memory_fraction(self.extra_args) or 1.0

    def replica_ports(self) -> tuple[int, ...]:
        """Return each replica's port."""
        return self.ports or tuple(range(self.port, self.port + self.replicas))

    def of_replica(self, number: int, gpus: Sequence[int] = ()) -> ModelConfig:
        """Return the same as this replica of it runs it, counted from 0, on these GPUs."""
        place = self.checkpoint_path if number == 0 else None
        port = self.replica_ports()[number]
        env = {**self.env, **_seeing(gpus)}
        return self.model_copy(
            update={"port": port, "ports": (), "replicas": 1, "checkpoint_path": place, "env": env}
        )

    def rungs(self, *, checkpoints: bool = True) -> tuple[Rung, ...]:
        """Return how deep it may sleep, the shallowest first; `checkpoints` says whether CRIU can work here."""
        return rungs(self.eviction, self.ladder, checkpoints=checkpoints)

    def ladder_fault(self) -> str:
        """Return why its ladder does not go with its eviction; or an empty text."""
        return ladder_fault(self.eviction, self.ladder)


def _seeing(gpus: Sequence[int]) -> Mapping[str, str]:
    """Return the environment in which a program sees these GPUs alone, by NVML's indexes; all of them where none is given."""
    if not gpus:
        return {}
    return {ORDER: BY_BUS, VISIBLE: ",".join(map(str, gpus))}


def replica_names(name: str, replicas: int) -> tuple[str, ...]:
    """Return the replicas' names: the model's own, then NAME#2 and so on, which no model's name can be."""
    return (name, *(f"{name}#{number}" for number in range(2, replicas + 1)))
