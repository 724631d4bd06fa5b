"""From the configuration to a driver: each model's rules, its replicas and what they take, and what the node has."""

from __future__ import annotations

import time
from collections.abc import Mapping

from llmux.server._driver import Driver
from llmux.server._hands import Hands
from llmux.server._model import NotStarted
from llmux.server._record import Model, Replica
from llmux.server._rules import AfterDrain, Drain, Rules, Sizes
from llmux.server.config import Config, ModelConfig
from llmux.server.scheduling.policies import PolicySettings, make_policy


def make_driver(config: Config, hands: Mapping[str, Hands]) -> Driver:
    """Return a driver of the configured models; `hands` do each replica's work, by its name."""
    models = [_model(name, model, hands) for name, model in config.models.items()]
    capacity = {} if config.max_awake is None else {"awake": config.max_awake}
    return Driver(models, make_policy(PolicySettings()), capacity)


def _model(name: str, model: ModelConfig, hands: Mapping[str, Hands]) -> Model:
    replica = Replica(name, name, hands[name], NotStarted(since=time.monotonic()), Sizes({"awake": 1}))
    return Model(name, _rules(model), (replica,))


def _rules(model: ModelConfig) -> Rules:
    return Rules(
        eviction=model.eviction.eviction(), drain=Drain(model.drain.seconds, AfterDrain(model.drain.then))
    )
