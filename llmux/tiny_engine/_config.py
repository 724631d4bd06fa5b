"""The model's shape, as config.json holds it."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from llmux.tiny_engine.errors import ModelDamagedError

_KIND: Final = "llmux_tiny"


@dataclass(frozen=True)
class Shape:
    """Sizes of the network, in elements; `context` and `max_model_len` in tokens."""

    vocabulary: int
    context: int = 6
    embedding: int = 32
    memory: int = 64
    hidden: int = 224
    max_model_len: int = 8192

    @property
    def features(self) -> int:
        """Inputs of the hidden layer: the last tokens' embeddings and the memory."""
        return self.context * self.embedding + self.memory

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name each tensor of the weights with its dimensions."""
        return {
            "embedding": (self.vocabulary, self.embedding),
            "memory": (self.vocabulary, self.memory),
            "hidden_weight": (self.features, self.hidden),
            "hidden_bias": (self.hidden,),
            "output_weight": (self.hidden, self.vocabulary),
            "output_bias": (self.vocabulary,),
        }

    def to_json(self) -> str:
        return (
            json.dumps({"model_type": _KIND, "architectures": ["LlmuxTiny"], **asdict(self)}, indent=2) + "\n"
        )


def load_shape(path: Path) -> Shape:
    """Read config.json; raises ModelDamagedError, naming the field."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelDamagedError(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelDamagedError(path, f"is not JSON: {error}") from error
    kind = document.get("model_type") if isinstance(document, dict) else None
    if kind != _KIND:
        raise ModelDamagedError(path, f"model_type is {kind!r}, but this engine runs only {_KIND!r}")
    sizes = {field.name: _size(path, field.name, document.get(field.name)) for field in fields(Shape)}
    return Shape(**sizes)


def _size(path: Path, name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 1 << 20:
        raise ModelDamagedError(path, f"{name} is {value!r}, not a size between 1 and 1048576")
    return value
