"""Models that lie on this machine: in the Hugging Face cache, and in directories.

A model is a directory with `config.json` and weights beside it; in the cache it is the snapshot that `refs/main` names, and a download that
was broken off is none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_LARGEST_CONFIG = 1 << 20
_CACHED = "models--"


@dataclass(frozen=True)
class ModelFiles:
    """A model that can be served from here."""

    source: str
    """What an engine is given: its name in the cache, or its directory."""
    weights: int
    """Bytes of its weights."""
    kind: str
    """`model_type` of its config.json; may be empty."""
    hub: str = ""
    """The cache that has it, where engines are to be told of that."""


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the Hugging Face cache is, by its own rules (huggingface_hub's environment variables)."""
    if said := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(said)
    if home := environ.get("HF_HOME"):
        return Path(home) / "hub"
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "/root")) / ".cache")
    return Path(base) / "huggingface/hub"


def in_cache(hub: Path) -> Iterator[ModelFiles]:
    """Yield the models of a cache whose files are all there."""
    for place in sorted(hub.glob(f"{_CACHED}*")):
        try:
            revision = (place / "refs/main").read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        name = place.name.removeprefix(_CACHED).replace("--", "/")
        if "/" not in revision and (found := _model_at(place / "snapshots" / revision, name)):
            yield found


def in_directory(directory: Path) -> Iterator[ModelFiles]:
    """Yield the model that `directory` is, or those right below it, or those of the cache that it is or has as its `hub`."""
    if found := _model_at(directory, str(directory)):
        yield found
        return
    for below in sorted(directory.iterdir()) if directory.is_dir() else ():
        if below.is_dir() and (found := _model_at(below, str(below))):
            yield found
    for hub in (directory, directory / "hub"):
        yield from (replace(found, hub=str(hub)) for found in in_cache(hub))


def _model_at(directory: Path, source: str) -> ModelFiles | None:
    try:
        with (directory / "config.json").open("rb") as file:
            told: object = json.loads(file.read(_LARGEST_CONFIG))
        weights = [path for path in directory.iterdir() if path.suffix in _WEIGHTS]
        size = sum(path.stat().st_size for path in weights)
    except (OSError, ValueError):  # a link to a file that was never finished is one of these
        return None
    if not size or not isinstance(told, dict):
        return None
    return ModelFiles(source, size, str(told.get("model_type") or ""))
