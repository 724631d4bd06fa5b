"""What `capture`, `verify`, `plan`, `rebuild` and `undo` did, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from llmux.criu_images._actions import Plan, verb_of
from llmux.criu_images._paths import escape
from llmux.criu_images._undo import Undone
from llmux.criu_images.manifest import CaptureCost, Manifest

VERSION = 1


def render_manifest_json(manifest: Manifest, warnings: Iterable[str]) -> str:
    """Write a manifest in numbers, with all that there is to warn of."""
    facts = {
        "version": VERSION,
        "fingerprint": manifest.fingerprint,
        "seal": manifest.seal,
        "files": len(manifest.files),
        "carried": sum(file.carried is not None for file in manifest.files),
        "images": len(manifest.images),
        "policy": list(manifest.policy),
        "cost": None if manifest.cost is None else _cost(manifest.cost),
        "nvidia": None if manifest.nvidia is None else asdict(manifest.nvidia),
        "warnings": list(warnings),
    }
    return json.dumps(facts, indent=2)


def _cost(cost: CaptureCost) -> dict[str, object]:
    return {**cost.model_dump(), "saved_bytes": cost.saved_bytes}


def render_plan_json(made: Plan) -> str:
    """Write a plan, whether it was carried out or not."""
    whole = {
        "version": VERSION,
        "actions": [
            {"action": verb_of(action), "path": escape(action.path), "reason": action.reason}
            for action in made.actions
        ],
        "conflicts": [
            {
                "subject": conflict.subject,
                "found": conflict.found,
                "criu_says": conflict.criu_says,
                "advice": conflict.advice,
            }
            for conflict in made.conflicts
        ],
        "warnings": list(made.warnings),
        "files": [
            {"path": escape(one.path), "likeness": one.likeness.value, "found": one.found}
            for one in made.compared
        ],
    }
    return json.dumps(whole, indent=2)


def render_undone_json(undone: Undone) -> str:
    """Write what was taken back, and what was not."""
    left = [{"path": escape(one.path), "why": one.why} for one in undone.left]
    whole = {"version": VERSION, "removed": list(map(escape, undone.removed)), "left": left}
    return json.dumps(whole, indent=2)
