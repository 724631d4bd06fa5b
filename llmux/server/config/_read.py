"""A configuration's text to one frozen configuration, or every fault at once, each with the path to its field."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from llmux.server._config_faults import describe
from llmux.server.config import _checks, _ranks, _text, _visible
from llmux.server.config._spread import spread
from llmux.server.config._top import Config
from llmux.server.errors import ConfigInvalid, ConfigUnreadable

HOME = Path("/etc/llmux")
"""Where the configuration is, if nothing else is said."""

_NAMES = ("config.yaml", *(f"config{suffix}" for suffix in _text.SUFFIXES))


def find(home: Path = HOME) -> Path:
    """Return the configuration's file in `home`, `config.json` where there is none. Raises ConfigUnreadable where there are several."""
    there = [path for suffix in _text.SUFFIXES if (path := home / f"config{suffix}").exists()]
    if len(there) > 1:
        names = ", ".join(path.name for path in there)
        hint = "Say which by --config, or leave one only"
        raise ConfigUnreadable(str(home), f"there are several: {names}", hint=hint)
    return there[0] if there else home / "config.json"


def load(path: Path) -> Config:
    """Read and parse the file at `path`. Raises ConfigUnreadable or ConfigInvalid."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigUnreadable(str(path), reason, hint=_where(path)) from error
    return parse(text, str(path))


def _where(path: Path) -> str:
    """Return how to say where the configuration is; of one that lies beside it, or here (`llmux init` writes it so), its name."""
    beside = (path.with_suffix(suffix) for suffix in _text.SUFFIXES)
    if other := next((each for each in beside if each != path and each.exists()), None):
        return f"{other} is there: --config {other}"
    if here := next((name for name in _NAMES if path.parent == HOME and Path(name).exists()), None):
        return f"{here} is here: --config {here}"
    return (
        "Give the file's path with --config; in a container, mount it: "
        f"-v FILE:{HOME}/config.json:ro, or config.yaml or config.toml, as the file is written"
    )


def parse(text: str, source: str = "config.json") -> Config:
    """Parse `text`, in the format that the suffix of `source` names. Raises ConfigUnreadable or ConfigInvalid."""
    raw = _text.read(text, source)
    faults = [*raw.repeats, *_checks.faults(raw.value)]
    try:
        config = spread(Config.model_validate_json(raw.as_json()))
        faults.extend((*_checks.ladders(config), *_ranks.faults(config), *_visible.faults(config)))
    except ValidationError as error:
        raise ConfigInvalid(source, (*describe(error, Config), *faults)) from error
    if faults:
        raise ConfigInvalid(source, tuple(faults))
    return config
