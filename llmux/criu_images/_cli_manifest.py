"""The manifest of the dump that a command was given, where there is one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from llmux.criu_images.errors import ManifestMissing

if TYPE_CHECKING:
    from llmux.criu_images.manifest import Manifest

_MANIFEST = "llmux-manifest.json"


def manifest_beside(images: Path) -> Manifest | None:
    """Read the manifest of a dump; None where nothing was captured beside it."""
    if images.is_dir() and not os.path.lexists(images / _MANIFEST):
        return None
    from llmux.criu_images._verify import read_manifest  # noqa: PLC0415 - pydantic takes its time

    try:
        return read_manifest(images)
    except ManifestMissing:
        return None
