"""How tables reach standard output: drawn on a terminal, else as plain lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from llmux.criu_images._table import Table, plain_lines


def write_tables(tables: Iterable[Table]) -> None:
    """Write those tables that have rows."""
    if sys.stdout.isatty():
        from llmux.criu_images._terminal import print_tables  # noqa: PLC0415 - rich takes its time

        print_tables(tables)
    else:
        sys.stdout.writelines(f"{line}\n" for line in plain_lines(tables))
