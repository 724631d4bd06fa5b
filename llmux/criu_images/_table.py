"""A titled table of text, and its plain form: aligned columns, one line for each row, nothing cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter


@dataclass(frozen=True, slots=True)
class Table:
    """What a report is made of."""

    title: str
    note: str
    columns: Sequence[str]
    """The columns' names, which only a terminal's form prints."""
    rows: Sequence[Sequence[str]]
    count: int | None = None
    """How many things the rows tell of, where that is not one each."""

    @property
    def heading(self) -> str:
        return f"{self.title} ({len(self.rows) if self.count is None else self.count})"

    def filled(self) -> list[int]:
        """Return the numbers of the columns in which some row says something."""
        return [number for number in range(len(self.columns)) if any(row[number] for row in self.rows)]


def plain_lines(tables: Iterable[Table]) -> Iterator[str]:
    """Yield the lines of those tables that have rows, an empty line between them."""
    first = True
    for table in tables:
        if table.rows:
            if not first:
                yield ""
            first = False
            yield f"{table.heading}: {table.note}" if table.note else table.heading
            yield from _rows(table)


def _rows(table: Table) -> Iterator[str]:
    columns = [[*map(itemgetter(number), table.rows)] for number in table.filled()]
    padded = [map(str.ljust, column, repeat(max(map(len, column)))) for column in columns]
    return ("  " + "  ".join(row).rstrip() for row in zip(*padded, strict=True))
