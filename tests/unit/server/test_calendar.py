"""When schedules want a model awake."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmux.server._calendar import Wanted, wanted
from llmux.server.config import ScheduleConfig


def schedule(cron, hours, timezone="UTC"):
    return ScheduleConfig.model_validate({"cron": cron, "for": hours * 3600.0, "timezone": timezone})


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


OFFICE = schedule("0 8 * * MON-FRI", 10)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-24 07:59:59", Wanted(now=False, changes_at=at("2026-11-24 08:00"))),
        ("2026-11-24 08:00:00", Wanted(now=True, changes_at=at("2026-11-24 18:00"))),
        ("2026-11-24 12:00:00.5", Wanted(now=True, changes_at=at("2026-11-24 18:00"))),
        ("2026-11-24 18:00:00", Wanted(now=False, changes_at=at("2026-11-25 08:00"))),
        ("2026-11-28 12:00:00", Wanted(now=False, changes_at=at("2026-11-30 08:00"))),
    ],
)
def test_office_hours(now, expected):
    assert wanted([OFFICE], at(now)) == expected


def test_any_schedule_will_do():
    both = [OFFICE, schedule("0 17 * * *", 3)]
    assert wanted(both, at("2026-11-24 19:00")) == Wanted(now=True, changes_at=at("2026-11-24 20:00"))
    assert wanted(both, at("2026-11-24 17:30")) == Wanted(now=True, changes_at=at("2026-11-24 18:00"))


def test_without_a_schedule_it_is_never_wanted():
    assert wanted([], at("2026-11-24 19:00")) == Wanted(now=False)


def test_spans_that_overlap_their_next_start_go_on():
    assert wanted([schedule("0 * * * *", 2)], at("2026-11-24 19:30")).now
    assert wanted([schedule("0 8 * * *", 24)], at("2026-11-24 07:59:59.5")).now


def test_a_zones_hour_is_its_own():
    berlin = schedule("0 8 * * *", 1, "Europe/Berlin")
    assert wanted([berlin], at("2026-11-24 07:00")).now
    assert not wanted([berlin], at("2026-11-24 08:00")).now
    assert wanted([berlin], at("2026-07-24 06:00")).now


@given(
    st.integers(1_577_836_800, 1_893_456_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    st.sampled_from(["* * * * *", "0 8 * * MON-FRI", "30 2 * * *", "0 0 1 * *", "*/7 3-5 * * SUN"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_it_changes_later_or_never_and_is_the_same_until_then(now, cron, timezone):
    stated = [schedule(cron, 2, timezone)]
    found = wanted(stated, now)
    assert found.changes_at is not None
    assert found.changes_at > now
    before = now + (found.changes_at - now) / 2
    assert wanted(stated, before).now == found.now
