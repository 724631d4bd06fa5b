"""The configuration: a file in JSON, YAML or TOML to one frozen value, or every fault at once, each with the path to its field.

    find() -> Path                                 where it is if nothing is said
    load(path), parse(text, source) -> Config      what the top says for all models is in each model already
    render(value, suffix)                          the text of what `parse` reads
    schema()                                       the JSON Schema, for editors
    remarks(config)                                what is allowed but worth saying
    rank_settings(model)                           what an engine on several GPUs is started with besides
    exposure(config)                               who may do what
    eviction_faults(config)                        what this machine cannot do of it
    changes(before, after)                         what a reload is to do

docs/configuration.md has every field.
"""

from __future__ import annotations

from llmux.server.config._access import AccessConfig, KeyConfig, ListenConfig, SecretConfig, TlsConfig
from llmux.server.config._calls import CallConfig, CallsConfig, RemoteConfig
from llmux.server.config._changes import Changes, ModelChange, changes
from llmux.server.config._eviction import EvictionConfig, LadderConfig
from llmux.server.config._hooks import HookConfig
from llmux.server.config._machine import NVIDIA_DRIVER, eviction_fault, eviction_faults, ranks_fault
from llmux.server.config._models import (
    AdapterConfig,
    DrainConfig,
    IsolationConfig,
    ModelConfig,
    ModelQueueConfig,
    ModelResources,
    RestartConfig,
    ScheduleConfig,
    Timeouts,
    replica_names,
)
from llmux.server.config._ranks import RankSettings, rank_settings
from llmux.server.config._read import HOME, find, load, parse
from llmux.server.config._remarks import exposure, remarks
from llmux.server.config._requests import RequestCaps
from llmux.server.config._schema import schema
from llmux.server.config._text import render
from llmux.server.config._top import CheckpointConfig, Config, NodeResources, PolicyConfig, QueueConfig
from llmux.server.config._tracing import TracingConfig

__all__ = [
    "HOME",
    "NVIDIA_DRIVER",
    "AccessConfig",
    "AdapterConfig",
    "CallConfig",
    "CallsConfig",
    "Changes",
    "CheckpointConfig",
    "Config",
    "DrainConfig",
    "EvictionConfig",
    "HookConfig",
    "IsolationConfig",
    "KeyConfig",
    "LadderConfig",
    "ListenConfig",
    "ModelChange",
    "ModelConfig",
    "ModelQueueConfig",
    "ModelResources",
    "NodeResources",
    "PolicyConfig",
    "QueueConfig",
    "RankSettings",
    "RemoteConfig",
    "RequestCaps",
    "RestartConfig",
    "ScheduleConfig",
    "SecretConfig",
    "Timeouts",
    "TlsConfig",
    "TracingConfig",
    "changes",
    "eviction_fault",
    "eviction_faults",
    "exposure",
    "find",
    "load",
    "parse",
    "rank_settings",
    "ranks_fault",
    "remarks",
    "render",
    "replica_names",
    "schema",
]
