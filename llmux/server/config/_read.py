"""JSON text to one frozen configuration, or every fault at once, each with the path to its field."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from llmux.server._config_faults import describe
from llmux.server.config import _checks
from llmux.server.config._spread import spread
from llmux.server.config._top import Config
from llmux.server.errors import ConfigInvalid, ConfigUnreadable


def load(path: Path) -> Config:
    """Read and parse the file at `path`. Raises ConfigUnreadable or ConfigInvalid."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        hint = "Give the file's path with --config; in a container, mount it with -v FILE:/etc/llmux/config.json:ro"
        raise ConfigUnreadable(str(path), reason, hint=hint) from error
    return parse(text, str(path))


def parse(text: str, source: str = "config.json") -> Config:
    """Parse the JSON `text` that came from `source`. Raises ConfigUnreadable or ConfigInvalid."""
    try:
        raw = json.loads(text, object_pairs_hook=_Pairs.object)
    except (json.JSONDecodeError, RecursionError) as error:
        hint = "JSON knows no comments and no comma after the last element"
        raise ConfigUnreadable(source, f"it is not JSON: {error}", hint=hint) from error
    faults = [*_repeats(raw), *_checks.faults(raw)]
    try:
        config = spread(Config.model_validate_json(text))
        faults.extend(_checks.ladders(config))
    except ValidationError as error:
        raise ConfigInvalid(source, (*describe(error, Config), *faults)) from error
    if faults:
        raise ConfigInvalid(source, tuple(faults))
    return config


class _Pairs(dict[str, object]):
    """A JSON object that remembers the names it was given twice."""

    repeated: tuple[str, ...] = ()

    @classmethod
    def object(cls, pairs: list[tuple[str, object]]) -> _Pairs:
        made = cls(pairs)
        made.repeated = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return made


def _repeats(raw: object, path: str = "") -> Iterable[str]:
    """Name every field that is given twice: JSON keeps the last silently."""
    if isinstance(raw, _Pairs):
        for name in raw.repeated:
            yield f"{path}{name}: is given twice"
        for name, value in raw.items():
            yield from _repeats(value, f"{path}{name}.")
