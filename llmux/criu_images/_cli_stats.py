"""`stats` and `diff`: what a dump cost, and what sets it apart from another."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from llmux.criu_images._cli_json import json_options
from llmux.criu_images._cli_manifest import manifest_beside
from llmux.criu_images._cli_tables import write_tables
from llmux.criu_images._diff import find_changes, render_changes, render_changes_json
from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._stats import Numbers, read_stats, render_stats_json, stats_tables
from llmux.criu_images.errors import ExitCode

_DUMP = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("directory", metavar="DIR", type=_DUMP)
@json_options("stats")
def stats(directory: Path, *, as_json: bool) -> None:
    """Show what CRIU measured, where the memory pages are, and what the capture took."""
    read_dump(directory)
    found = read_stats(directory) | _capture_cost(directory)
    if as_json:
        click.echo(render_stats_json(found))
    else:
        write_tables(stats_tables(found))


def _capture_cost(directory: Path) -> dict[str, Numbers]:
    manifest = manifest_beside(directory)
    if manifest is None or manifest.cost is None:
        return {}
    numbers = manifest.cost.model_dump(exclude={"difference_known_by"}, exclude_none=True)
    saved = manifest.cost.saved_bytes
    return {"capture": numbers if saved is None else {**numbers, "saved_bytes": saved}}


@click.command()
@click.argument("first", metavar="DIR1", type=_DUMP)
@click.argument("second", metavar="DIR2", type=_DUMP)
@click.option(
    "--ignore-pids",
    is_flag=True,
    help="Tell processes apart by their place in the tree: a program started again has other ids.",
)
@json_options("diff")
def diff(first: Path, second: Path, *, ignore_pids: bool, as_json: bool) -> None:
    """Show what two dumps differ in.

    By meaning: numbers that CRIU or the kernel gives anew each time are not compared. Exits with 3 where there is a difference.
    """
    dumps = [read_dump(directory) for directory in (first, second)]
    one, other = ((dump, take_inventory(dump)) for dump in dumps)
    changes = find_changes(one, other, ignore_pids=ignore_pids)
    click.echo(render_changes_json(changes) if as_json else render_changes(changes))
    if changes:
        sys.exit(ExitCode.CONFLICTS)
