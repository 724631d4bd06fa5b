"""What is said where a package that llmux needs is not in the Python that runs it."""

from __future__ import annotations

import sys

from llmux.criu_images.errors import DependencyMissing

_PACKAGES = {"google": "protobuf", "pydantic_core": "pydantic"}
"""Which package brings a module, where the names differ."""


def missing_dependency(error: ModuleNotFoundError) -> DependencyMissing:
    """Name the package to install; raises `error` again where a module of llmux itself is not found."""
    module = (error.name or "").partition(".")[0]
    if module in {"", "llmux"}:
        raise error
    return DependencyMissing(_PACKAGES.get(module, module), sys.executable)
