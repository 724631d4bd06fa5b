"""`graph`: the dump as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from llmux.criu_images._cli_tables import write_lines
from llmux.criu_images._dump import read_dump
from llmux.criu_images._graph import EVERY_PART, take_graph
from llmux.criu_images._graph_model import Part
from llmux.criu_images._report_dot import dot_lines
from llmux.criu_images._report_svg import svg_lines

_DUMP = click.Path(exists=True, path_type=Path)
_WRITERS = {"svg": svg_lines, "dot": dot_lines}


def _parts(_context: click.Context, _parameter: click.Parameter, given: str | None) -> frozenset[Part]:
    if given is None:
        return EVERY_PART
    try:
        return frozenset(map(Part, given.split(",")))
    except ValueError as error:
        names = ", ".join(part.value for part in Part)
        raise click.BadParameter(f"{error}; the parts are {names}.") from error


@click.command()
@click.argument("directory", metavar="DIR", type=_DUMP)
@click.option(
    "--format",
    "written_as",
    type=click.Choice(list(_WRITERS)),
    help="By default what FILE ends in, and dot for any other.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    help="Write it there.",
)
@click.option(
    "--only",
    metavar="PARTS",
    callback=_parts,
    help="Draw these parts only: sockets, pipes, files, with commas between.",
)
def graph(directory: Path, written_as: str | None, output: str, only: frozenset[Part]) -> None:
    """Draw who holds which end of what: processes, sockets, pipes and shared files, as SVG or for Graphviz (DOT).

    The SVG needs no Graphviz and nothing else: `--output dump.svg`, and open it in a browser.
    """
    lines = _WRITERS[written_as or _format_of(output)](take_graph(read_dump(directory), only))
    with click.open_file(output, "w", encoding="utf-8") as file:
        write_lines(lines, file)


def _format_of(output: str) -> str:
    return "svg" if output.lower().endswith(".svg") else "dot"
