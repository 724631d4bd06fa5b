"""Where models lie on disk: a directory, or Hugging Face's cache layout."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from llmux.tiny_engine.errors import ModelNotFoundError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def hub_directory(env: Mapping[str, str] = os.environ) -> Path:
    """Resolve the cache as huggingface_hub does: $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub."""
    if cache := env.get("HF_HUB_CACHE"):
        return Path(cache)
    home = env.get("HF_HOME") or Path(env.get("HOME", "~")).expanduser() / ".cache" / "huggingface"
    return Path(home) / "hub"


def find_model(model: str, hub: Path) -> Path:
    """Resolve a directory or `org/name`; raises ModelNotFoundError."""
    if (directory := Path(model)).is_dir():
        return directory.resolve()
    if _NAME.fullmatch(model) and (snapshot := _snapshot(_repository(hub, model))):
        return snapshot
    raise ModelNotFoundError(model, hub)


def new_snapshot(hub: Path, name: str, identity: str) -> Path:
    """Make the directory for a snapshot of `name` and point its `main` at it; `identity` stands for the content."""
    if not _NAME.fullmatch(name):
        raise ModelNotFoundError(name, hub)
    revision = hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()
    repository = _repository(hub, name)
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
    return snapshot


def _repository(hub: Path, name: str) -> Path:
    return hub / ("models--" + name.replace("/", "--"))


def _snapshot(repository: Path) -> Path | None:
    """Take the revision that refs/main names; without one, the newest snapshot."""
    snapshots = [path for path in (repository / "snapshots").glob("*/") if path.is_dir()]
    main = repository / "refs" / "main"
    wanted = main.read_text().strip() if main.is_file() else None
    named = [path for path in snapshots if path.name == wanted]
    return max(named or snapshots, key=lambda path: path.stat().st_mtime, default=None)
