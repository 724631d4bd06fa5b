"""The success test's last words: what was measured, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement. Either unit may be missing; `note` says the rest."""

    what: str
    seconds: float | None = None
    size: int | None = None
    note: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        seconds = "" if self.seconds is None else f"{self.seconds:.2f}"
        size = "" if self.size is None else f"{self.size:,}"
        return (self.what, seconds, size, self.note)


HEAD = ("what", "seconds", "bytes", "")


def render(rows: Sequence[Row]) -> str:
    """Lay the rows out in columns, numbers to the right."""
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    lines = [_line(line, widths) for line in cells]
    return "\n".join([lines[0], "-" * (sum(widths) + 6), *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    what, seconds, size, note = cells
    first, second, third, _ = widths
    return f"{what:<{first}}  {seconds:>{second}}  {size:>{third}}  {note}".rstrip()
