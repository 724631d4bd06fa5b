"""What a storm's outcome looks like in a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from storms.judge import AGAIN, Kind
from storms.storm import Outcome


def render(outcome: Outcome) -> Table:
    """Lay an outcome out as a table."""
    table = Table(title=f"{outcome.storm.name}: {outcome.storm.about}", title_justify="left", min_width=60)
    table.add_column("what")
    table.add_column("count", justify="right")
    for what, count in _rows(outcome):
        table.add_row(what, count)
    return table


def _rows(outcome: Outcome) -> Iterator[tuple[str, str]]:
    kinds, waits = outcome.kinds, outcome.waits()
    yield "requests", str(outcome.book.sent)
    yield "answers", str(kinds[Kind.ANSWERED])
    yield AGAIN, str(sum(each.verdict.code == AGAIN for each in outcome.book.records))
    for code, count in sorted(outcome.errors.items()):
        yield f"honest error: {code}", str(count)
    yield "clients that left", str(kinds[Kind.LEFT])
    for kind in (Kind.DOUBLED, Kind.CROSSED, Kind.CUT, Kind.WRONG):
        yield str(kind), str(kinds[kind])
    yield "lost", str(kinds[Kind.LOST] + outcome.book.lost)
    yield "switches", str(outcome.switches)
    yield "wait, median", f"{percentile(waits, 50):.2f} s"
    yield "wait, p99", f"{percentile(waits, 99):.2f} s"
    for part in outcome.parts:
        of_it = outcome.waits(part)
        halfway, late = (f"{percentile(of_it, percent):.2f} s" for percent in (50, 99))
        yield f"  {part}", f"{len(of_it)} answers, median {halfway}, p99 {late}"
    for wake, (count, longest) in sorted(outcome.wakes().items()):
        yield f"answers {wake}", f"{count}, {longest:.2f} s at most"
    yield "seconds in all", f"{outcome.seconds:.1f}"
    yield "left behind", str(len(outcome.left))


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the least of the sorted values that `percent` of them don't exceed; 0 of none."""
    if not values:
        return 0
    return values[max(0, -(-len(values) * percent // 100) - 1)]
