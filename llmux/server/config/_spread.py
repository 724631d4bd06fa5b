"""What the top says for all models goes into each model that does not say it itself."""

from __future__ import annotations

from llmux.server.config import _matrix
from llmux.server.config._eviction import EvictionConfig, of_level
from llmux.server.config._models import DrainConfig, ModelConfig, Timeouts
from llmux.server.config._ranks import stay_unasked
from llmux.server.config._top import Config


def spread(config: Config) -> Config:
    """Return `config` with every model's own fields as they are meant, the short forms among them."""
    default = _default_eviction(config)
    models = {name: _model(model, config, default) for name, model in config.models.items()}
    return config.model_copy(update={"models": models})


def _default_eviction(config: Config) -> EvictionConfig:
    policy = config.policy
    return policy.eviction if policy.sleep_level is None else of_level(policy.sleep_level)


def _model(model: ModelConfig, config: Config, default: EvictionConfig) -> ModelConfig:
    given = model.model_fields_set
    updates: dict[str, object] = {
        "timeouts": _timeouts(model.timeouts, config),
        "drain": _drain(model, config),
    }
    if "eviction" not in given:
        updates["eviction"] = (
            _fitting(default, model) if model.sleep_level is None else of_level(model.sleep_level)
        )
    if "vllm_command" not in given:
        updates["vllm_command"] = config.vllm_command
    if model.engine == "remote" and model.served_name is None:
        updates["served_name"] = model.model_path
    if "min_awake" not in given:
        updates["min_awake"] = config.policy.min_active_secs
    return model.model_copy(update=updates)


def _fitting(default: EvictionConfig, model: ModelConfig) -> EvictionConfig:
    """Return what holds for all as this model's engine can do it: one that cannot let go of its weights keeps them."""
    if not model.runs_here:
        return EvictionConfig(weights="discard", process="stop")
    if stay_unasked(model) and default.process != "stop":
        deeper = tuple(each for each in default.escalate if each == "stop")
        default = default.model_copy(update={"process": "keep_running", "escalate": deeper})
    if _matrix.unable(default.eviction(), model.engine, model.extra_args):
        return default.model_copy(update={"weights": "retain"})
    return default


def _drain(model: ModelConfig, config: Config) -> DrainConfig:
    if "drain" in model.model_fields_set:
        return model.drain
    if model.timeouts.drain is not None:
        return DrainConfig(seconds=model.timeouts.drain, then="give_up")
    if not config.policy.drain_before_switch:
        return DrainConfig(seconds=0, then="end")
    return model.drain


def _timeouts(timeouts: Timeouts, config: Config) -> Timeouts:
    wanted = {"start": config.startup_timeout_secs, "request": config.policy.request_timeout_secs}
    updates = {
        name: seconds
        for name, seconds in wanted.items()
        if seconds is not None and name not in timeouts.model_fields_set
    }
    return timeouts.model_copy(update=updates)
