"""`show --why PATH`, as text for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from llmux.criu_images._inventory import Inventory
from llmux.criu_images._paths import escape
from llmux.criu_images._records import Dump, Pid
from llmux.criu_images._why import Use, Way, Why, below_in_words

VERSION = 1


def render_why(dump: Dump, inventory: Inventory, why: Why, ours: tuple[str, ...] | None) -> str:
    """Write it for people; `ours` is what a rebuild does, None without a manifest."""
    comms = {task.pid: task.comm for task in dump.tasks}
    lines = [escape(why.path)]
    for way in why.ways:
        lines += _way(way, comms)
    if why.below:
        kinds, *below = below_in_words(inventory, why)
        lines += [f"  on the way to {kinds}", *_indented(below)]
    if not why.referred_to:
        lines.append("  nothing in the dump refers to it: a restore does not ask for it")
        lines += ["  nearest:", *_indented(map(escape, why.nearest))] if why.nearest else []
    lines += _ours(ours, referred_to=why.referred_to)
    return "\n".join(lines)


def _way(way: Way, comms: dict[Pid, str]) -> Iterator[str]:
    yield f"  {way.kind}"
    yield from _indented(_uses(way.uses, comms))
    yield from _indented(way.notes)
    function = f" ({way.restore.function})" if way.restore.function else ""
    yield f"    at restore: {way.restore.does}{function}"
    if way.restore.says:
        yield "    where that fails, CRIU says:"
        yield from (f"      {said}" for said in way.restore.says)


def _uses(uses: Iterable[Use], comms: dict[Pid, str]) -> Iterator[str]:
    rows = [(f"{comms.get(use.pid, '?')}({use.pid})", use.how, use.details) for use in uses]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _ours(ours: tuple[str, ...] | None, *, referred_to: bool) -> Iterator[str]:
    if ours is None:
        if referred_to:
            yield "  llmux: no manifest is beside the images, so nothing is rebuilt: see `capture`"
        return
    if referred_to:
        yield from (f"  llmux: {text}" for text in ours or ("nothing: the manifest does not name it",))


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def render_why_json(why: Why, ours: tuple[str, ...] | None) -> str:
    """Write it for programs."""
    whole = {
        "version": VERSION,
        "path": escape(why.path),
        "references": [_way_json(way) for way in why.ways],
        "below": list(map(escape, why.below)),
        "nearest": list(map(escape, why.nearest)),
        "rebuild": None if ours is None else list(ours),
    }
    return json.dumps(whole, indent=2)


def _way_json(way: Way) -> dict[str, object]:
    return {
        "kind": way.kind,
        "uses": [{"pid": use.pid, "how": use.how, "details": use.details} for use in way.uses],
        "notes": list(way.notes),
        "restore": way.restore.does,
        "function": way.restore.function,
        "criu_says": list(way.restore.says),
    }
