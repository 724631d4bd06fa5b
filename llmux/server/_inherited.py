"""What engines, and programs that are tried for them, get of llmux's own environment. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from llmux.server.config import Config


def inherited(config: Config, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return all but the keys for servers elsewhere and those of llmux's clients, which are nothing to a model's code."""
    access = config.access
    secrets = (*access.keys.values(), *((access.token,) if access.token else ()))
    keys = {
        *(model.remote.api_key_env for model in config.models.values() if model.remote),
        *(each.env for each in secrets),
    }
    return {name: value for name, value in environ.items() if name not in keys}
