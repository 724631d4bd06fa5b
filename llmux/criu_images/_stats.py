"""What CRIU measured of a dump and a restore: its images `stats-dump` and `stats-restore`, and the sizes of the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from llmux.criu_images._counted import counted
from llmux.criu_images._entry import Entry
from llmux.criu_images._formats import STATS
from llmux.criu_images._pagemaps import count_pages
from llmux.criu_images._source import Images, open_source
from llmux.criu_images._table import Table

VERSION = 1

_TIMES = {
    "dump": ("freezing_time", "frozen_time", "memdump_time", "memwrite_time", "irmap_resolve"),
    "restore": ("forking_time", "restore_time"),
}
"""In microseconds (CRIU's stats.proto)."""
_COUNTS = {
    "dump": (
        "pages_scanned",
        "pages_skipped_parent",
        "pages_written",
        "pages_lazy",
        "shpages_scanned",
        "shpages_skipped_parent",
        "shpages_written",
        "page_pipes",
        "page_pipe_bufs",
    ),
    "restore": ("pages_compared", "pages_skipped_cow", "pages_restored"),
}

Numbers = dict[str, int]


def read_stats(directory: Path) -> dict[str, Numbers]:
    """Read what there is of `dump` and `restore`, and add the images' sizes as `images`; raises what `read_dump` raises."""
    with closing(open_source(os.fspath(directory))) as source:
        images = Images(source)
        stats = {
            part: _numbers(entry, part)
            for part in ("dump", "restore")
            for found in images.maybe(f"stats-{part}", STATS)
            if (entry := found.maybe_nested(part)) is not None
        }
        stats["pages"] = count_pages(images)
        sizes = {name: source.size(name) for name in source.names() if name.endswith(".img")}
    pages = [size for name, size in sizes.items() if name.startswith("pages-")]
    stats["images"] = {"count": len(sizes), "bytes": sum(sizes.values()), "page_bytes": sum(pages)}
    return stats


def _numbers(entry: Entry, part: str) -> Numbers:
    names = (*_TIMES[part], *_COUNTS[part])
    return {name: value for name in names if (value := entry.maybe_number(name)) is not None}


def stats_tables(stats: dict[str, Numbers]) -> Iterator[Table]:
    """Yield times in seconds, how many pages were looked at and written, what the capture took, and the images' sizes."""
    for part in ("dump", "restore"):
        found = stats.get(part, {})
        rows = [(name, f"{found[name] / 1e6:.6f} s") for name in _TIMES[part] if name in found]
        rows += [(name, _count(name, found[name])) for name in _COUNTS[part] if name in found]
        yield Table(part.capitalize(), f"from stats-{part}", ("what", "how much"), rows)
    pages = stats["pages"]
    rows = [(_PLACES[place], counted(pages[place], "page")) for place in _PLACES if pages[place]]
    yield Table("Pages", "as the pagemaps say", ("where", "how many"), rows, sum(pages.values()))
    yield from _capture(stats.get("capture", {}))
    sizes = stats["images"]
    rows = [("all", counted(sizes["bytes"], "byte")), ("pages", counted(sizes["page_bytes"], "byte"))]
    yield Table("Images", "", ("what", "how much"), rows, sizes["count"])


def _count(name: str, number: int) -> str:
    return str(number) if name.startswith("page_pipe") else counted(number, "page")


_PLACES = {
    "present": "in this dump",
    "parent": "in its parent",
    "lazy": "to be sent later",
    "none": "in none of these",
}


def _capture(cost: Numbers) -> Iterator[Table]:
    rows = [(name, _amount(name, number)) for name, number in cost.items()]
    yield Table("Capture", "from the manifest", ("what", "how much"), rows)


def _amount(name: str, number: int) -> str:
    if name == "microseconds":
        return f"{number / 1e6:.6f} s"
    return counted(number, "byte") if name.endswith("_bytes") else str(number)


def render_stats_json(stats: dict[str, Numbers]) -> str:
    """Write the same for programs, in CRIU's own units and names."""
    return json.dumps(
        {
            "version": VERSION,
            **{part: stats.get(part) for part in ("dump", "restore", "pages", "capture", "images")},
        },
        indent=2,
    )
