"""`graph`: the dump as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report_dot import render_dot

_DUMP = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("directory", metavar="DIR", type=_DUMP)
def graph(directory: Path) -> None:
    """Write the graph of processes and Unix sockets, for `dot -Tsvg`."""
    dump = read_dump(directory)
    click.echo(render_dot(dump, take_inventory(dump)))
