"""What a CRIU dump refers to, and how to make it restore in another container.

In the order of use: `read_dump` and `take_inventory` say what a dump holds; `capture` copies beside it what another container lacks
(run it while the tree is frozen); `plan` says what a restore needs here, `rebuild` makes that, `undo` takes it back; `verify` checks a
checkpoint, `read_manifest` reads its manifest. Errors are in `llmux.criu_images.errors`; each is a CriuImagesError.

Names are loaded when first used: asking for an error does not import protobuf, nor reading a dump pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from llmux.criu_images._paths import RawPath, escape, unescape
from llmux.criu_images.errors import CriuImagesError, ExitCode

if TYPE_CHECKING:
    from llmux.criu_images._actions import Plan
    from llmux.criu_images._capture import capture
    from llmux.criu_images._dump import read_dump
    from llmux.criu_images._inventory import Inventory, take_inventory
    from llmux.criu_images._observe import PRIVATE_MOUNTS_VARIABLE
    from llmux.criu_images._rebuild import plan, rebuild, undo
    from llmux.criu_images._records import Dump
    from llmux.criu_images._undo import Undone
    from llmux.criu_images._verify import read_manifest, verify
    from llmux.criu_images._wire import check_pycriu
    from llmux.criu_images.manifest import MANIFEST_NAME, Manifest

__all__ = [
    "MANIFEST_NAME",
    "PRIVATE_MOUNTS_VARIABLE",
    "CriuImagesError",
    "Dump",
    "ExitCode",
    "Inventory",
    "Manifest",
    "Plan",
    "RawPath",
    "Undone",
    "capture",
    "check_pycriu",
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
    "MANIFEST_NAME": "manifest",
    "Manifest": "manifest",
    "PRIVATE_MOUNTS_VARIABLE": "_observe",
    "Plan": "_actions",
    "Undone": "_undo",
    "capture": "_capture",
    "check_pycriu": "_wire",
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
