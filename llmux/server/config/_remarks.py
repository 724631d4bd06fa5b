"""What is allowed but worth saying at start."""

from __future__ import annotations

from collections.abc import Iterator

from llmux.server.config._calls import RemoteConfig
from llmux.server.config._models import ModelConfig
from llmux.server.config._ranks import rank_settings
from llmux.server.config._top import Config


def remarks(config: Config) -> tuple[str, ...]:
    """Return what is allowed but worth saying at start, each with the path to its field."""
    return (
        *_of_earlier(config),
        *(remark for name, model in config.models.items() for remark in _of_model(name, model, config)),
    )


def exposure(config: Config) -> tuple[str, ...]:
    """Return who may do what, as far as the configuration says: whoever starts llmux should not have to guess."""
    access = config.access
    ports = f"port {config.port}" if config.admin_port is None else f"port {config.admin_port}"
    if access.keys:
        return (f"access: all but /health needs one of the {len(access.keys)} configured keys",)
    use = f"access: no keys are configured, and whoever reaches {config.host}:{config.port} may use /v1"
    if access.token:
        return (use, f"access: /control and all else on {ports} need access.token")
    return (use, f"access: /control and all else on {ports} are for clients by the loopback address only")


def _of_earlier(config: Config) -> Iterator[str]:
    if config.warmup:
        yield "warmup: nothing is warmed up before the first request; `preload` of a model starts it with llmux"
    if config.checkpoint.object_store is not None:
        yield f"checkpoint.object_store: is not used; checkpoints stay in {config.checkpoint.images_dir}"


def _of_remote(name: str, remote: RemoteConfig) -> Iterator[str]:
    keyed = remote.api_key_env is not None or remote.api_key_file is not None
    if keyed and remote.url.startswith("http:") and not remote.is_near:
        yield f"models.{name}.remote.url: {remote.url} is asked without TLS, and the key is readable on the way; say https"


def _of_model(name: str, model: ModelConfig, config: Config) -> Iterator[str]:
    if model.remote:
        yield from _of_remote(name, model.remote)
    if added := str(rank_settings(model)):
        yield (
            f"models.{name}.nccl: where there are GPUs its {model.ranks} ranks are started with {added}, so that they can leave them; "
            "nobody has tried this with llmux, and answers are slower for it (docs/gpu.md)"
        )
    published = config.checkpoint.images_dir / name / "images"
    if model.checkpoint_path and model.checkpoint_path != published:
        yield (
            f"models.{name}.checkpoint_path: {model.checkpoint_path} is not where new checkpoints of it are published "
            f"({published}); whichever of the two is newer and valid is used"
        )
