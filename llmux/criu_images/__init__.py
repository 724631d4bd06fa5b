"""What a CRIU dump refers to, and how to make it restore in another container.

Names are loaded when first used: asking for an error does not import protobuf, nor reading a dump pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from llmux.criu_images._paths import RawPath, escape, unescape
from llmux.criu_images.errors import CriuImagesError, ExitCode

if TYPE_CHECKING:
    from llmux.criu_images._capture import capture
    from llmux.criu_images._dump import read_dump
    from llmux.criu_images._inventory import Inventory, take_inventory
    from llmux.criu_images._observe import PRIVATE_MOUNTS_VARIABLE
    from llmux.criu_images._rebuild import plan, rebuild, undo
    from llmux.criu_images._records import Dump
    from llmux.criu_images._verify import read_manifest, verify
    from llmux.criu_images.manifest import Manifest

__all__ = [
    "PRIVATE_MOUNTS_VARIABLE",
    "CriuImagesError",
    "Dump",
    "ExitCode",
    "Inventory",
    "Manifest",
    "RawPath",
    "capture",
    "escape",
    "plan",
    "read_dump",
    "read_manifest",
    "rebuild",
    "take_inventory",
    "undo",
    "unescape",
    "verify",
]

_MODULES = {
    "Dump": "_records",
    "Inventory": "_inventory",
    "Manifest": "manifest",
    "PRIVATE_MOUNTS_VARIABLE": "_observe",
    "capture": "_capture",
    "plan": "_rebuild",
    "read_manifest": "_verify",
    "rebuild": "_rebuild",
    "undo": "_rebuild",
    "verify": "_verify",
    "read_dump": "_dump",
    "take_inventory": "_inventory",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
