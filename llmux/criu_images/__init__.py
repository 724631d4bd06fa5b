"""What a CRIU dump refers to, and how to make it restore in another container.

In the order of use: `read_dump` and `take_inventory` say what a dump holds; `capture` copies beside it what another container lacks
(run it while the tree is frozen); `plan` says what a restore needs here, `rebuild` makes that, `undo` takes it back; `verify` checks a
checkpoint, `read_manifest` reads its manifest; those that may take long tell a callback of their `Progress`. `finish` says that the restored
tree is well: what was made for it stays. `explain_log` says why a run of CRIU failed. Errors are in `llmux.criu_images.errors`; each is a
CriuImagesError. docs/library.md has an example of each.

Names are loaded when first used, for CRIU's tree may be waiting: importing this package loads nothing, asking for an error no protobuf,
reading a dump no pydantic.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
"""`typing.TYPE_CHECKING`, without the import."""

if TYPE_CHECKING:
    from llmux.criu_images._actions import Action, Conflict, Plan, verb_of
    from llmux.criu_images._capture import capture
    from llmux.criu_images._compare import Comparison, Likeness
    from llmux.criu_images._dump import read_dump
    from llmux.criu_images._explain import Explanation, Finding, Outcome, explain_log
    from llmux.criu_images._finish import Finished, finish
    from llmux.criu_images._hold import Held
    from llmux.criu_images._inventory import Inventory, PathKind, PathReference, take_inventory
    from llmux.criu_images._observe import PRIVATE_MOUNTS_VARIABLE
    from llmux.criu_images._paths import RawPath, escape, unescape
    from llmux.criu_images._policy import Policy
    from llmux.criu_images._policy_parse import parse_policy
    from llmux.criu_images._progress import Phase, Progress
    from llmux.criu_images._rebuild import plan, rebuild, undo
    from llmux.criu_images._records import Dump
    from llmux.criu_images._undo import Left, Undone
    from llmux.criu_images._users import User
    from llmux.criu_images._verify import read_manifest, verify
    from llmux.criu_images._wire import check_pycriu
    from llmux.criu_images.errors import CriuImagesError, ExitCode
    from llmux.criu_images.manifest import MANIFEST_NAME, Manifest

__all__ = [
    "MANIFEST_NAME",
    "PRIVATE_MOUNTS_VARIABLE",
    "Action",
    "Comparison",
    "Conflict",
    "CriuImagesError",
    "Dump",
    "ExitCode",
    "Explanation",
    "Finding",
    "Finished",
    "Held",
    "Inventory",
    "Left",
    "Likeness",
    "Manifest",
    "Outcome",
    "PathKind",
    "PathReference",
    "Phase",
    "Plan",
    "Policy",
    "Progress",
    "RawPath",
    "Undone",
    "User",
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
    "verb_of",
    "verify",
]

_MODULES = {
    "MANIFEST_NAME": "manifest",
    "PRIVATE_MOUNTS_VARIABLE": "_observe",
    "Action": "_actions",
    "Comparison": "_compare",
    "Conflict": "_actions",
    "CriuImagesError": "errors",
    "Dump": "_records",
    "ExitCode": "errors",
    "Explanation": "_explain",
    "Finding": "_explain",
    "Finished": "_finish",
    "Held": "_hold",
    "Inventory": "_inventory",
    "Left": "_undo",
    "Likeness": "_compare",
    "Manifest": "manifest",
    "Outcome": "_explain",
    "PathKind": "_inventory",
    "PathReference": "_inventory",
    "Phase": "_progress",
    "Plan": "_actions",
    "Policy": "_policy",
    "Progress": "_progress",
    "RawPath": "_paths",
    "Undone": "_undo",
    "User": "_users",
    "capture": "_capture",
    "check_pycriu": "_wire",
    "escape": "_paths",
    "explain_log": "_explain",
    "finish": "_finish",
    "parse_policy": "_policy_parse",
    "plan": "_rebuild",
    "read_dump": "_dump",
    "read_manifest": "_verify",
    "rebuild": "_rebuild",
    "take_inventory": "_inventory",
    "undo": "_rebuild",
    "unescape": "_paths",
    "verb_of": "_actions",
    "verify": "_verify",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
