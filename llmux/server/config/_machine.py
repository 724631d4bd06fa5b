"""Which of the configured evictions cannot work on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from llmux.server._model import Eviction
from llmux.server.config import _matrix
from llmux.server.config._matrix import Need
from llmux.server.config._models import ModelConfig
from llmux.server.config._ranks import unprepared
from llmux.server.config._top import Config

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_SUSPENDS_SINCE = 570
"""The first branch of NVIDIA's driver with the calls of CUDA's checkpoint API (CUDA 12.8); 550 has them in its own program only, and without a lock that times out."""
_NO_SLEEP_MODE = "--no-enable-sleep-mode"


def eviction_faults(config: Config, driver: Path = NVIDIA_DRIVER) -> tuple[str, ...]:
    """Return the configured evictions that cannot work on this machine, each with the path to its field."""
    return tuple(
        f"models.{name}.eviction{field}: {fault}"
        for name, model in config.models.items()
        if model.runs_here
        for field, eviction in _evictions(model)
        if (fault := eviction_fault(eviction, model, driver))
    )


def eviction_fault(eviction: Eviction, model: ModelConfig, driver: Path = NVIDIA_DRIVER) -> str:
    """Return why `model` cannot sleep so on this machine, CRIU apart; or an empty text."""
    unable = _matrix.unable(eviction, model.engine, model.extra_args)
    lack = unable or _matrix.lack(eviction, _missing_cuda(driver) | _missing_sleep_mode(model, driver))
    return lack or ranks_fault(eviction, model, driver)


def ranks_fault(eviction: Eviction, model: ModelConfig, driver: Path = NVIDIA_DRIVER) -> str:
    """Return why an engine's ranks cannot leave the GPUs of this machine as it was started; or an empty text."""
    fault = unprepared(eviction, model)
    return fault if fault and driver.exists() else ""


def _evictions(model: ModelConfig) -> tuple[tuple[str, Eviction], ...]:
    """Return all that it may be asked to do on its own, each with its field in `eviction`."""
    further = tuple(
        (f".escalate.{index}", eviction) for index, eviction in enumerate(model.eviction.escalations())
    )
    return (("", model.eviction.eviction()), *further)


def _missing_cuda(driver: Path) -> dict[Need, str]:
    try:
        text = driver.read_text("utf-8", "replace")
    except OSError:
        return {
            Need.CUDA_DRIVER: f"'cuda_suspend' needs NVIDIA's driver, and there is none here ({driver} does not exist)"
        }
    # "Kernel Module  570.86.15", and of the open ones "Open Kernel Module for x86_64  580.65.06"
    found = re.search(r"Kernel Module.*?(\d+)\.\d+", text)
    if found and int(found[1]) < _SUSPENDS_SINCE:
        return {
            Need.CUDA_DRIVER: f"'cuda_suspend' needs NVIDIA's driver {_SUSPENDS_SINCE} or newer, and this one is {found[1]}"
        }
    return {}


def _missing_sleep_mode(model: ModelConfig, driver: Path) -> dict[Need, str]:
    """Return what vLLM and SGLang lack to let go of their weights; of a command's nothing is known before it is asked."""
    if model.engine == "vllm" and _NO_SLEEP_MODE in model.extra_args:
        return {Need.SLEEP_MODE: f"vLLM has no sleep mode with {_NO_SLEEP_MODE} in extra_args"}
    mode = {"vllm": "vLLM's sleep mode", "sglang": "SGLang's memory saver"}.get(model.engine)
    if mode and not driver.exists():
        return {
            Need.GPU: f"{mode} needs a GPU to offload from, and there is none here ({driver} does not exist)"
        }
    return {}
