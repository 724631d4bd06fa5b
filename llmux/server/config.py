"""The configuration: JSON text to one frozen value, or every fault at once, each with the path to its field."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from llmux.server._config_faults import describe
from llmux.server._model import Eviction, Process, Weights
from llmux.server.errors import ConfigInvalid, ConfigUnreadable

__all__ = [
    "CheckpointConfig",
    "Config",
    "EvictionConfig",
    "IsolationConfig",
    "ModelConfig",
    "Timeouts",
    "eviction_fault",
    "eviction_faults",
    "load",
    "parse",
    "remarks",
]

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_INSTEAD = "use 'checkpoint', 'keep_running' or 'stop'"


def _safe_name(name: str) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError(
            "a model's name is a directory's name too: 1 to 128 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return name


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("must be an absolute path without '..'")
    return path


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character, which no program's argument can")
    return text


def _variable_name(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError("is no name of an environment variable")
    return name


ModelName = Annotated[str, AfterValidator(_safe_name)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]
Argument = Annotated[str, AfterValidator(_no_nul)]
Variable = Annotated[str, AfterValidator(_variable_name)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class EvictionConfig(_Section):
    """How deep a model sleeps when it is put to sleep."""

    weights: Literal["retain", "offload", "discard"] = "discard"
    process: Literal["keep_running", "checkpoint", "stop", "cuda_suspend"] = "checkpoint"

    @model_validator(mode="after")
    def _can_work(self) -> EvictionConfig:
        if self.process == "stop" and self.weights != "discard":
            raise ValueError(
                f"an engine that is stopped keeps no weights: weights {self.weights!r} cannot go with process "
                "'stop'; say \"weights\": \"discard\", or keep the process with 'keep_running' or 'checkpoint'"
            )
        return self

    def eviction(self) -> Eviction:
        """Return the same as the state machine knows it."""
        return Eviction(Weights(self.weights), Process(self.process))


class IsolationConfig(_Section):
    """What an engine has of its own beside its PID and mount namespaces."""

    shm: bool = True
    tmp: bool = False


class Timeouts(_Section):
    """Bounds in seconds."""

    start: Seconds = 900
    """A cold start, from the engine's spawn to its first good /health."""
    health: Seconds = 5
    """One answer of /health."""
    drain: Seconds = 300
    """Requests in flight when a sleep is asked for; past it the sleep is given up and the model serves on."""
    sleep: Seconds = 120
    """Each of the engine's own steps on the way to sleep."""
    wake: Seconds = 300
    """Each of the engine's own steps on the way back."""


class ModelConfig(_Section):
    """One model and its engine."""

    model_path: Text
    port: Port
    engine: Literal["vllm", "tiny", "command"] = "vllm"
    vllm_command: tuple[Text, ...] = Field(default=("vllm",), min_length=1)
    command: tuple[Text, ...] = ()
    extra_args: tuple[Argument, ...] = ()
    env: dict[Variable, Argument] = Field(default_factory=dict)
    eviction: EvictionConfig = EvictionConfig()
    checkpoint_path: AbsolutePath | None = None
    isolation: IsolationConfig = IsolationConfig()
    timeouts: Timeouts = Timeouts()

    @field_validator("vllm_command", mode="before")
    @classmethod
    def _one_word(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _command_fits(self) -> ModelConfig:
        if self.engine == "command" and not self.command:
            raise ValueError("engine 'command' needs \"command\": the program and its arguments, as a list")
        if self.engine != "command" and self.command:
            raise ValueError(f"\"command\" is for engine 'command' only, and this engine is {self.engine!r}")
        return self


class CheckpointConfig(_Section):
    """Where checkpoints lie and what makes them."""

    criu_path: Text = "criu"
    cuda_plugin_dir: AbsolutePath | None = None
    cuda_checkpoint_path: AbsolutePath | None = None
    images_dir: AbsolutePath = Path("/var/lib/llmux/checkpoints")
    keep_images: bool = True


class Config(_Section):
    """The whole configuration."""

    models: dict[ModelName, ModelConfig] = Field(min_length=1)
    checkpoint: CheckpointConfig = CheckpointConfig()
    host: Text = "0.0.0.0"  # noqa: S104 - a container's port is published from outside
    port: Port = 3000
    max_awake: Annotated[int, Field(ge=1)] | None = None
    """How many models may be awake together; the least recently used one sleeps for another. None: all of them."""
    log_dir: AbsolutePath = Path("/var/log/llmux")
    """Each engine's output, appended to MODEL.log here. The same path in every container: a checkpoint holds it open."""


def load(path: Path) -> Config:
    """Read and parse the file at `path`. Raises ConfigUnreadable or ConfigInvalid."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        hint = "Give the file's path with --config; in a container, mount it with -v FILE:/etc/llmux/config.json:ro"
        raise ConfigUnreadable(str(path), reason, hint=hint) from error
    return parse(text, str(path))


def parse(text: str, source: str = "config.json") -> Config:
    """Parse the JSON `text` that came from `source`. Raises ConfigUnreadable or ConfigInvalid."""
    try:
        raw = json.loads(text, object_pairs_hook=_Pairs.object)
    except (json.JSONDecodeError, RecursionError) as error:
        hint = "JSON knows no comments and no comma after the last element"
        raise ConfigUnreadable(source, f"it is not JSON: {error}", hint=hint) from error
    faults = [*_repeats(raw), *_port_clashes(raw)]
    try:
        config = Config.model_validate_json(text)
    except ValidationError as error:
        faults = [*describe(error, Config), *faults]
    if faults:
        raise ConfigInvalid(source, tuple(faults))
    return config


def remarks(config: Config) -> tuple[str, ...]:
    """Return what is allowed but worth saying at start."""
    return tuple(
        f"models.{name}.checkpoint_path: {model.checkpoint_path} is not where new checkpoints of it are published "
        f"({published}); whichever of the two is newer and valid is used"
        for name, model in config.models.items()
        if model.checkpoint_path
        and model.checkpoint_path != (published := config.checkpoint.images_dir / name / "images")
    )


def eviction_faults(config: Config, driver: Path = NVIDIA_DRIVER) -> tuple[str, ...]:
    """Return the configured evictions that cannot work on this machine, each with the path to its field."""
    return tuple(
        f"models.{name}.eviction.process: {fault}"
        for name, model in config.models.items()
        if (fault := eviction_fault(model.eviction.eviction(), driver))
    )


def eviction_fault(eviction: Eviction, driver: Path = NVIDIA_DRIVER) -> str:
    """Return why this eviction cannot work on this machine, CRIU apart; or an empty text."""
    if eviction.process is not Process.CUDA_SUSPEND:
        return ""
    if not driver.exists():
        return f"'cuda_suspend' needs NVIDIA's driver, and there is none here ({driver} does not exist); {_INSTEAD}"
    return f"'cuda_suspend' is not built yet; {_INSTEAD}"


class _Pairs(dict[str, object]):
    """A JSON object that remembers the names it was given twice."""

    repeated: tuple[str, ...] = ()

    @classmethod
    def object(cls, pairs: list[tuple[str, object]]) -> _Pairs:
        made = cls(pairs)
        made.repeated = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return made


def _repeats(raw: object, path: str = "") -> Iterable[str]:
    """Name every field that is given twice: JSON keeps the last silently."""
    if isinstance(raw, _Pairs):
        for name in raw.repeated:
            yield f"{path}{name}: is given twice"
        for name, value in raw.items():
            yield from _repeats(value, f"{path}{name}.")


def _port_clashes(raw: object) -> Iterable[str]:
    """Name the models whose port is another's; from the raw value, so that other faults do not hide these."""
    root = raw if isinstance(raw, Mapping) else {}
    own = root.get("port", 3000)
    owners = {own: "llmux itself (port)"} if isinstance(own, int) else {}
    models = root.get("models")
    for name, model in models.items() if isinstance(models, Mapping) else ():
        port = model.get("port") if isinstance(model, Mapping) else None
        if not isinstance(port, int):
            continue
        if port in owners:
            yield f"models.{name}.port: {port} is also the port of {owners[port]}"
        else:
            owners[port] = f"models.{name}"
