"""The tables of a report on a terminal: coloured, in columns as wide as it allows; what is longer is folded, never cut."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from llmux.criu_images._cli_tables import write_lines
from llmux.criu_images._table import Table, plain_lines

_MOST_ROWS = 2000
"""A longer table is written plainly: the widths of its columns would take longer to work out than anyone waits."""
_STYLES = {
    "path": "cyan",
    "address": "cyan",
    "mount point": "cyan",
    "file": "cyan",
    "name": "bold",
    "pid": "bold",
    "tid": "bold",
    "kind": "yellow",
    "state": "yellow",
    "held by": "green",
    "peer": "green",
    "processes": "green",
}


def print_tables(tables: Iterable[Table]) -> None:
    """Print those tables that have rows, on standard output."""
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    for table in tables:
        if len(table.rows) > _MOST_ROWS:
            write_lines(plain_lines([table]), sys.stdout)
        elif table.rows:
            note = Text(f": {table.note}", "dim") if table.note else Text()
            console.print(Text(table.heading, "bold") + note, overflow="fold")
            console.print(_grid(table))


def _grid(table: Table) -> Grid:
    filled = table.filled()
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for number in filled:
        name = table.columns[number]
        grid.add_column(name, overflow="fold", style=_STYLES.get(name, ""))
    for row in table.rows:
        grid.add_row(*(Text(row[number]) for number in filled))
    return grid
