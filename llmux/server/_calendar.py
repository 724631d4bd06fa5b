"""When schedules want a model awake, by the wall clock: people wrote them. Pure; whoever waits for `changes_at` looks again then.

cronsim knows about days that are an hour shorter or longer, as Debian's cron does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from llmux.server.config import ScheduleConfig


@dataclass(frozen=True)
class Wanted:
    """Whether a model is to be awake now, and when that may next change; None: never."""

    now: bool
    changes_at: datetime | None = None


def wanted(schedules: Iterable[ScheduleConfig], now: datetime) -> Wanted:
    """Return what these schedules say at `now`, a time with its zone."""
    spans = [span for schedule in schedules for span in _spans(schedule, now)]
    changes = [edge for span in spans for edge in span if edge > now]
    return Wanted(any(begin <= now < end for begin, end in spans), min(changes, default=None))


def _spans(schedule: ScheduleConfig, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the last span that has begun, and the next one, in UTC."""
    here = now.astimezone(UTC if schedule.timezone == "UTC" else ZoneInfo(schedule.timezone))
    # A start at this very second has begun; cronsim looks strictly before or after the time that it is given.
    past = (
        begin for begin in CronSim(schedule.cron, here + timedelta(seconds=1), reverse=True) if begin <= here
    )
    for times in (past, CronSim(schedule.cron, here)):
        begin = next(times, None)
        if begin is not None:
            yield begin.astimezone(UTC), begin.astimezone(UTC) + timedelta(seconds=schedule.seconds)
