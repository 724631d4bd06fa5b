"""What a CRIU dump refers to, and how to make it restore in another container.

In the order of use: `read_dump` and `take_inventory` say what a dump holds; `capture` copies beside it what another container lacks
(run it while the tree is frozen); `plan` says what a restore needs here, `rebuild` makes that, `undo` takes it back; `verify` checks a
checkpoint, `read_manifest` reads its manifest. `finish` says that the restored tree is well: what was made for it stays. `explain_log` says why a run of CRIU failed. Errors are in `llmux.criu_images.errors`; each is a CriuImagesError.

Names are loaded when first used, for CRIU's tree may be waiting: importing this package loads nothing, asking for an error no protobuf,
reading a dump no pydantic.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
"""`typing.TYPE_CHECKING`, without the import."""

if TYPE_CHECKING:
    from llmux.criu_images._actions import Plan
    from llmux.criu_images._capture import capture
    from llmux.criu_images._dump import read_dump
    from llmux.criu_images._explain import explain_log
    from llmux.criu_images._finish import Finished, finish
    from llmux.criu_images._inventory import Inventory, take_inventory
    from llmux.criu_images._observe import PRIVATE_MOUNTS_VARIABLE
    from llmux.criu_images._paths import RawPath, escape, unescape
    from llmux.criu_images._policy import Policy
    from llmux.criu_images._policy_parse import parse_policy
    from llmux.criu_images._rebuild import plan, rebuild, undo
    from llmux.criu_images._records import Dump
    from llmux.criu_images._undo import Undone
    from llmux.criu_images._verify import read_manifest, verify
    from llmux.criu_images._wire import check_pycriu
    from llmux.criu_images.errors import CriuImagesError, ExitCode
    from llmux.criu_images.manifest import MANIFEST_NAME, Manifest

__all__ = [
    "MANIFEST_NAME",
    "PRIVATE_MOUNTS_VARIABLE",
    "CriuImagesError",
    "Dump",
    "ExitCode",
    "Finished",
    "Inventory",
    "Manifest",
    "Plan",
    "Policy",
    "RawPath",
    "Undone",
    "capture",
    "check_pycriu",
    "escape",
    "explain_log",
    "finish",
    "parse_policy",
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
    "CriuImagesError": "errors",
    "Dump": "_records",
    "ExitCode": "errors",
    "Finished": "_finish",
    "Inventory": "_inventory",
    "MANIFEST_NAME": "manifest",
    "Manifest": "manifest",
    "PRIVATE_MOUNTS_VARIABLE": "_observe",
    "Plan": "_actions",
    "Policy": "_policy",
    "parse_policy": "_policy_parse",
    "RawPath": "_paths",
    "Undone": "_undo",
    "capture": "_capture",
    "check_pycriu": "_wire",
    "escape": "_paths",
    "explain_log": "_explain",
    "finish": "_finish",
    "plan": "_rebuild",
    "read_dump": "_dump",
    "read_manifest": "_verify",
    "rebuild": "_rebuild",
    "take_inventory": "_inventory",
    "undo": "_rebuild",
    "unescape": "_paths",
    "verify": "_verify",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
