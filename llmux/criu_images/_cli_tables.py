"""How text reaches standard output: tables are drawn on a terminal, and else are plain lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from typing import IO

from llmux.criu_images._table import Table, plain_lines


def write_tables(tables: Iterable[Table]) -> None:
    """Write those tables that have rows."""
    if sys.stdout.isatty():
        from llmux.criu_images._terminal import print_tables  # noqa: PLC0415 - rich takes its time

        print_tables(tables)
    else:
        write_lines(plain_lines(tables), sys.stdout)


_AT_ONCE = 500


def write_lines(lines: Iterable[str], file: IO[str]) -> None:
    """Write many lines by one call: Python may be told to buffer none (PYTHONUNBUFFERED), as in many containers."""
    left = iter(lines)
    while batch := list(islice(left, _AT_ONCE)):
        file.write("\n".join((*batch, "")))
