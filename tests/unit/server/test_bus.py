"""Everybody gets every entry in order; nobody who looks on can disturb what he looks at; the latest are kept."""

from __future__ import annotations

from llmux.server._bus import Bus
from llmux.server._happenings import CheckpointRemoved, RequestQueued


def of(why):
    return CheckpointRemoved(model="m", replica="m", why=why)


def request(number):
    return RequestQueued(request=str(number), model="m", path="/v1/completions")


def test_every_subscriber_takes_every_entry_with_its_number_and_times():
    bus, one, other = Bus(), [], []
    with bus.subscribed(one.append):
        bus.publish(of("first"))
        with bus.subscribed(other.append):
            bus.publish(of("second"))
        bus.publish(of("third"))
    bus.publish(of("nobody looks"))
    assert [(each.id, each.happening.why) for each in one] == [(1, "first"), (2, "second"), (3, "third")]
    assert [each.id for each in other] == [2]
    assert one[0].monotonic <= one[1].monotonic
    assert one[0].at > 1.7e9
    assert bus.last == 4


def test_a_subscriber_that_fails_disturbs_neither_the_publisher_nor_the_others(caplog):
    bus, taken = Bus(), []

    def fail(_entry):
        raise ValueError("boom")

    with bus.subscribed(fail), bus.subscribed(taken.append):
        bus.publish(of("one"))
        bus.publish(of("two"))
    assert [each.id for each in taken] == [1, 2]
    assert "boom" in caplog.text


def test_what_a_subscriber_publishes_comes_in_order_to_all():
    bus, taken = Bus(), []

    def echo(entry):
        if entry.id == 1:
            bus.publish(of("echo"))

    with bus.subscribed(echo), bus.subscribed(taken.append):
        bus.publish(of("call"))
    assert [(each.id, each.happening.why) for each in taken] == [(1, "call"), (2, "echo")]


def test_the_latest_are_kept_and_it_is_known_whether_that_is_all():
    bus = Bus(kept=3)
    assert bus.since(0) == ()
    assert bus.complete_since(0)
    for number in range(5):
        bus.publish(of(str(number)))
    assert [each.id for each in bus.since(0)] == [3, 4, 5]
    assert not bus.complete_since(1)
    assert bus.complete_since(2)
    assert [each.id for each in bus.since(4)] == [5]
    assert not bus.complete_since(6)  # an id of another llmux


def test_many_requests_do_not_push_out_why_a_model_fell_asleep():
    bus = Bus(kept=3)
    bus.publish(of("room"))
    for number in range(10):
        bus.publish(request(number))
    assert [each.id for each in bus.since(0)] == [1, 9, 10, 11]
    assert not bus.complete_since(1)
