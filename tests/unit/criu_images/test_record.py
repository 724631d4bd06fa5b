from __future__ import annotations

from dataclasses import replace

from llmux.criu_images._record import record


@record
class Point:
    x: int
    y: int = 0


def test_a_record_is_compared_and_hashed_by_its_fields():
    assert Point(1) == Point(1, 0) != Point(1, 1)
    assert len({Point(1), Point(1, 0), replace(Point(1), y=2)}) == 2
    assert repr(Point(1)) == "Point(x=1, y=0)"
    assert not hasattr(Point(1), "__dict__")
