"""What a new configuration changes of the one that runs, for a reload: which models, which of their engines, what of the rest.

changes(before, after) -> Changes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llmux.server._gpu_names import ORDER, VISIBLE, By, parse
from llmux.server.config._models import ModelConfig
from llmux.server.config._ranks import rank_settings
from llmux.server.config._top import Config
from llmux.server.config._types import Section

ENGINE_FIELDS = frozenset(
    {
        "model_path",
        "engine",
        "vllm_command",
        "program",
        "command",
        "calls",
        "remote",
        "extra_args",
        "env",
        "isolation",
        "max_adapters",
    }
)
"""What an engine was started with: a change takes effect with its next start, and its checkpoint is of another start."""

PLACE_FIELDS = frozenset({"port", "ports", "replicas", "resources"})
"""What is looked at replica by replica, and which GPUs it has."""

LIVE_FIELDS = frozenset(
    {
        "nccl",
        "eviction",
        "sleep_level",
        "ladder",
        "checkpoint_path",
        "pinned",
        "preload",
        "ttl",
        "priority",
        "weight",
        "min_awake",
        "schedule",
        "adapters",
        "aliases",
        "served_name",
        "request_defaults",
        "request_caps",
        "queue",
        "drain",
        "restart",
        "timeouts",
    }
)
"""What takes effect at once, the engine none the wiser; but for one on several GPUs that is to be started otherwise for it."""

LLMUX_FIELDS = frozenset(
    {
        "host",
        "port",
        "metrics_port",
        "admin_port",
        "listen",
        "tls",
        "log_dir",
        "state_dir",
        "checkpoint",
        "watch",
        "hooks",
        "tracing",
    }
)
"""What llmux itself was started with: a change takes effect with its next start."""

NODE_FIELDS = frozenset(
    {
        "default_model",
        "policy",
        "mode",
        "resources",
        "max_awake",
        "exclusive",
        "queue",
        "shutdown_timeout",
        "engines_at_exit",
        "engines_at_start",
        "engines_linger",
        "access",
        "warmup",
    }
)
"""What takes effect at once."""

SPREAD_FIELDS = frozenset({"models", "vllm_command", "startup_timeout_secs"})
"""What shows in the models."""


@dataclass(frozen=True)
class ModelChange:
    """One model that both configurations have, and that differs."""

    name: str
    fields: tuple[str, ...]
    """The paths in its section that differ."""
    restarts: tuple[int, ...] = ()
    """The replicas whose engines are to be started anew, counted from 0; their sleep and their checkpoints are of another start."""
    added: tuple[int, ...] = ()
    """The replicas that there were not before, counted from 0."""
    removed: tuple[int, ...] = ()
    """The replicas that there are no longer, counted from 0."""

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.fields)})"


@dataclass(frozen=True)
class Changes:
    """What differs between two configurations."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[ModelChange, ...] = ()
    node: tuple[str, ...] = ()
    """The paths at the top that differ and take effect at once."""
    at_next_start: tuple[str, ...] = ()
    """The paths at the top that differ and take effect when llmux starts again."""

    def __bool__(self) -> bool:
        return any((self.added, self.removed, self.changed, self.node, self.at_next_start))

    def __str__(self) -> str:
        parts = {
            "added": self.added,
            "removed": self.removed,
            "changed": tuple(map(str, self.changed)),
            "now otherwise": self.node,
            "otherwise when llmux starts again": self.at_next_start,
        }
        told = (f"{what}: {', '.join(names)}" for what, names in parts.items() if names)
        return "; ".join(told) or "nothing has changed"


def changes(before: Config, after: Config) -> Changes:
    """Return what `after` changes."""
    old, new = before.models, after.models
    top = tuple(_differing(before, after))
    return Changes(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(
            change for name in new if name in old and (change := _model_change(name, old[name], new[name]))
        ),
        node=tuple(path for path in top if _field(path) in NODE_FIELDS),
        at_next_start=tuple(path for path in top if _field(path) in LLMUX_FIELDS),
    )


def _model_change(name: str, before: ModelConfig, after: ModelConfig) -> ModelChange | None:
    fields = tuple(_differing(before, after))
    if not fields:
        return None
    kept = range(min(before.replicas, after.replicas))
    return ModelChange(
        name,
        fields,
        restarts=tuple(number for number in kept if _starts_anew(before, after, number)),
        added=tuple(range(before.replicas, after.replicas)),
        removed=tuple(range(after.replicas, before.replicas)),
    )


def _starts_anew(before: ModelConfig, after: ModelConfig, number: int) -> bool:
    """Say whether a replica's engine would be started otherwise; that its GPUs change, only the node's placement knows."""
    old, new = before.of_replica(number), after.of_replica(number)
    return (
        any(getattr(old, name) != getattr(new, name) for name in (*ENGINE_FIELDS - {"env"}, "port"))
        or _env_but_gpus(old) != _env_but_gpus(new)
        or rank_settings(old) != rank_settings(new)
        # An engine is started with or without adapters; which, it learns as it runs.
        or bool(old.adapters) != bool(new.adapters)
    )


def _env_but_gpus(model: ModelConfig) -> Mapping[str, str]:
    """Return its environment without what only says which whole GPUs it has."""
    if model.visible is None or parse(model.visible).by is not By.INDEX:
        return model.env
    return {name: value for name, value in model.env.items() if name not in {VISIBLE, ORDER}}


def _differing(before: Section, after: Section, path: str = "") -> Iterator[str]:
    """Yield the paths of what differs, as deep as sections go."""
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if old == new or (path == "" and name == "models"):
            continue
        if isinstance(old, Section) and type(old) is type(new):
            yield from _differing(old, new, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def _field(path: str) -> str:
    return path.partition(".")[0]
