"""`show` and `graph`: the commands that only read the images."""

from __future__ import annotations

from pathlib import Path

import click

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report import Section, render
from llmux.criu_images._report_dot import render_dot
from llmux.criu_images._report_json import render_json

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.option(
    "--kind", type=click.Choice([section.value for section in Section]), help="Show one section only."
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, as docs/show-json.md describes it.")
def show(directory: Path, kind: str | None, *, as_json: bool) -> None:
    """Show who refers to what, and what a restore needs."""
    dump = read_dump(directory)
    write = render_json if as_json else render
    click.echo(write(dump, take_inventory(dump), None if kind is None else Section(kind)))


@click.command()
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
def graph(directory: Path) -> None:
    """Write the graph of processes and Unix sockets, for `dot -Tsvg`."""
    dump = read_dump(directory)
    click.echo(render_dot(dump, take_inventory(dump)))
