"""The catalogue, the page that is made of it, and what is shown agree."""

from __future__ import annotations

import metrics_page

from llmux.server.metrics._catalogue import FAMILIES, LABELS, Kind


def test_the_page_is_what_the_catalogue_says():
    assert metrics_page.PAGE.read_text() == metrics_page.page(), "run `make metrics`"


def test_every_label_is_explained_and_none_else():
    assert {label for family in FAMILIES for label in family.labels} == set(LABELS)


def test_histograms_alone_have_buckets_and_these_rise():
    for family in FAMILIES:
        assert (family.kind is Kind.HISTOGRAM) == bool(family.buckets)
        assert list(family.buckets) == sorted(set(family.buckets))


async def test_whatever_is_shown_is_in_the_catalogue_with_its_labels_and_type(watch, make_hands):
    it = await watch({"m": make_hands()})
    await it.driver.wake("m")
    await it.driver.sleep("m")
    known = {family.name: family for family in FAMILIES}
    for family in (await it.figures()).families:
        if family.name.startswith("llmux_"):
            assert family.type == known[family.name].kind
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(known[family.name].labels)
