"""Counters and histograms of our own say what the client library's would of the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from llmux.server.metrics._catalogue import Family, Kind
from llmux.server.metrics._tallies import Tallies

ASKED = Family("asked", Kind.COUNTER, "How many", ("model", "code"))
TOOK = Family("took_seconds", Kind.HISTOGRAM, "How long", ("model",), (0.1, 1.0, 10.0))
NAMES = st.sampled_from(["a", "b", "c"])


def samples(families):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(
    st.lists(st.tuples(NAMES, st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0, 9.0, 10.0, 11.0, float("inf")]))),
    st.lists(st.tuples(NAMES, NAMES, st.integers(0, 5))),
)
def test_they_are_as_the_librarys(observed, counted):
    registry, ours = CollectorRegistry(), Tallies((ASKED, TOOK))
    counter = Counter("asked", "How many", ASKED.labels, registry=registry)
    histogram = Histogram("took_seconds", "How long", TOOK.labels, buckets=TOOK.buckets, registry=registry)
    for model, seconds in observed:
        histogram.labels(model).observe(seconds)
        ours.observe(TOOK, (model,), seconds)
    for model, code, by in counted:
        counter.labels(model, code).inc(by)
        ours.count(ASKED, (model, code), by)
    assert samples(ours.collect()) == samples(registry.collect())


def test_what_a_label_value_was_counted_under_is_forgotten_and_nothing_else():
    ours = Tallies((ASKED, TOOK))
    for model in ("a", "b"):
        ours.count(ASKED, (model, "a"))
        ours.observe(TOOK, (model,), 0.5)
    ours.forget("model", "a")
    assert {dict(labels)["model"] for _, labels in samples(ours.collect())} == {"b"}
