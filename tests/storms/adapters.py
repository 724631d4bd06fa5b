"""A storm over LoRA adapters that share their bases' engines."""

from __future__ import annotations

from storms.storm import Storm, Weather

_ADAPTERS = {f"/srv/adapter-{seed}": str(seed) for seed in (1, 2, 3)}
_TRAIN = ("/opt/llmux/bin/python", "-m", "llmux.tiny_engine", "train-adapter", "Qwen/Qwen3-0.6B")


async def _adapt(weather: Weather) -> None:
    """Ask for bases and more adapters than may be loaded, while the bases take turns and sleep to disk."""
    names = (*weather.models, *(adapter for model in weather.models for adapter in names_of(model)))
    for _ in range(weather.length):
        asks = (
            weather.client.ask(weather.dice.choice(names), stream=each % 3 == 0, tokens=2 + each % 9)
            for each in range(30)
        )
        await weather.at_once(*asks)
        await weather.order("sleep", {"model": weather.dice.choice(weather.models)})


def names_of(model: str) -> dict[str, str]:
    """Return a model's adapters with their paths."""
    return {f"{model}-{seed}": path for path, seed in _ADAPTERS.items()}


ADAPTERS = Storm(
    "adapters",
    "two models with three adapters each, of which two may be loaded, take turns",
    _adapt,
    2,
    20,
    fields_of=lambda model: {"adapters": names_of(model), "max_adapters": 2},
    prepare=tuple((*_TRAIN, path, "--seed", seed) for path, seed in _ADAPTERS.items()),
)
