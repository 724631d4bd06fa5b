"""From the configuration to a driver: each model's rules, its replicas and what they take, and what the node has."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from llmux.server import _capacity
from llmux.server._capacity import Found
from llmux.server._depth import deepened
from llmux.server._driver import Driver
from llmux.server._hands import Hands
from llmux.server._meter import Meter
from llmux.server._model import NotStarted, Process
from llmux.server._record import Model, Replica
from llmux.server._rules import AfterDrain, Drain, Restart, Rules, Rung, Sizes
from llmux.server.config import (
    NVIDIA_DRIVER,
    Config,
    ModelConfig,
    PolicyConfig,
    RestartConfig,
    ranks_fault,
    replica_names,
)
from llmux.server.scheduling.policies import PolicySettings, PolicyType, make_policy
from llmux.server.scheduling.snapshot import Policy

_ALWAYS_AGAIN = Restart(limit=sys.maxsize, backoff_max=5.0)
"""For a remote model, whose start is none that could wear anything out."""


def make_driver(config: Config, hands: Mapping[str, Hands], found: Found) -> Driver:
    """Return a driver of the configured models on a node with what is `found`; `hands` do each replica's work, by its name."""
    resize = partial(_capacity.sizes, config, found)
    meter = Meter(resize, config.state_dir / "measured.json")
    models = make_models(config, hands, resize({}))
    capacity = _capacity.capacity(config, found)
    driver = Driver(models, policy_of(config.policy), capacity, config.queue.max_waiting, meter)
    driver.orders.manual = config.mode == "manual"
    return driver


def make_models(config: Config, hands: Mapping[str, Hands], sizes: Mapping[str, Sizes]) -> tuple[Model, ...]:
    """Return the configured models, not started; each replica's hands and what it takes are given by its name."""
    return tuple(
        _model(name, model, make_rules(model, is_default=name == config.default_model), hands, sizes)
        for name, model in config.models.items()
    )


def policy_of(policy: PolicyConfig) -> Policy:
    """Return the policy as it is configured."""
    settings = PolicySettings(
        policy_type=PolicyType(policy.policy_type),
        max_wait_secs=policy.max_wait_secs,
        amortization_factor=policy.amortization_factor,
        coalesce_window_ms=policy.coalesce_window_ms,
        tick_interval_ms=policy.tick_interval_ms,
        min_quantum_ms=policy.min_quantum_ms,
    )
    return make_policy(settings)


def _model(
    name: str, model: ModelConfig, rules: Rules, hands: Mapping[str, Hands], sizes: Mapping[str, Sizes]
) -> Model:
    names = replica_names(name, model.replicas)
    replicas = tuple(
        Replica(replica, name, hands[replica], NotStarted(since=time.monotonic()), sizes[replica], port=port)
        for replica, port in zip(names, model.replica_ports(), strict=True)
    )
    return Model(name, rules, replicas, schedules=model.schedule)


def _restart(said: RestartConfig) -> Restart:
    return Restart(said.limit, said.backoff, said.backoff_max, said.window)


def _rungs(model: ModelConfig, driver: Path) -> tuple[Rung, ...]:
    """Return how deep a model may go by itself: not to disk where its engine was started so that it cannot."""
    to_disk = deepened(model.eviction.eviction(), Process.CHECKPOINT)
    return model.rungs(checkpoints=not ranks_fault(to_disk, model, driver))


def make_rules(model: ModelConfig, *, is_default: bool = False, driver: Path = NVIDIA_DRIVER) -> Rules:
    """Return a model's rules as it is configured; `is_default`: requests that name no model are for it."""
    drain = Drain(model.drain.seconds, AfterDrain(model.drain.then))
    return Rules(
        eviction=model.eviction.eviction(),
        escalation=model.eviction.escalations(),
        rungs=_rungs(model, driver),
        drain=drain,
        restart=_restart(model.restart) if model.runs_here else _ALWAYS_AGAIN,
        request_timeout=model.timeouts.request,
        stall=model.timeouts.stall,
        max_waiting=model.queue.max_waiting,
        priority=model.priority,
        weight=model.weight,
        pinned=model.pinned or not model.runs_here,
        preload=model.preload,
        min_awake=model.min_awake,
        ttl=model.ttl,
        adapters={adapter: each.path for adapter, each in model.adapters.items()},
        max_adapters=model.max_adapters,
        engine=model.engine,
        aliases=model.aliases,
        served_name=model.served_name,
        defaults=model.request_defaults,
        max_tokens=model.request_caps.max_tokens,
        is_default=is_default,
    )
