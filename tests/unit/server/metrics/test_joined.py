"""Whatever engines say, what comes of it is a valid exposition that says nothing wrong of llmux."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from llmux.server.metrics._engines import Scraped
from llmux.server.metrics._handlers import _Given
from llmux.server.metrics._joined import joined, read


def shown(*texts, model="m"):
    answers = [read(Scraped(model, f"m@{number}", text)) for number, text in enumerate(texts)]
    return generate_latest(_Given(joined(family for had in answers for family in had or ()))).decode()


def samples(text):
    return [
        (each.name, each.labels["replica"], each.value)
        for family in text_string_to_metric_families(text)
        for each in family.samples
    ]


def test_families_of_one_name_are_one_with_one_header():
    text = shown("# TYPE a gauge\na 1\n", "# TYPE a gauge\na 2\n")
    assert text.count("# TYPE a gauge") == 1
    assert samples(text) == [("a", "m@0", 1.0), ("a", "m@1", 2.0)]


def test_a_family_of_another_type_than_the_first_is_left_out():
    assert samples(shown("# TYPE a gauge\na 1\n", "# TYPE a histogram\na_sum 1\n")) == [("a", "m@0", 1.0)]


def test_an_older_counter_gets_a_counters_name():
    text = shown("# TYPE http_requests counter\nhttp_requests 3\n")
    assert "# TYPE http_requests_total counter\n" in text
    assert samples(text) == [("http_requests_total", "m@0", 3.0)]


@pytest.mark.parametrize(
    "says",
    [
        "llmux_requests_total 99\n",
        "# TYPE llmux_stopping gauge\nllmux_stopping 1\n",
        '{"no.name"} 1\n',
        'a{"no.label"="x"} 1\n',
    ],
)
def test_names_that_are_ours_or_none_are_left_out(says):
    assert samples(shown(says)) == []


def test_doubles_are_left_out():
    assert samples(shown("a 1\na 2\n")) == [("a", "m@0", 1.0)]


def test_labels_of_the_same_name_are_kept_apart_and_texts_stay_as_they_are():
    text = shown('a{model="it\\\\s",replica="r",t="1\\n\\"2\\""} 1 1700000000000\n', model='q"uote')
    (family,) = text_string_to_metric_families(text)
    labels = {
        "exported_model": "it\\s",
        "exported_replica": "r",
        "t": '1\n"2"',
        "model": 'q"uote',
        "replica": "m@0",
    }
    assert [(each.labels, each.timestamp) for each in family.samples] == [(labels, None)]


def test_histograms_and_summaries_come_through_whole():
    says = (
        '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
        '# TYPE s summary\ns{quantile="0.5"} NaN\ns_sum 1\ns_count 1\n'
    )
    text = shown(says)
    assert [name for name, _, _ in samples(text)] == [
        "h_bucket", "h_bucket", "h_sum", "h_count", "s", "s_sum", "s_count",
    ]  # fmt: skip
    assert 'le="+Inf"' in text


@pytest.mark.parametrize(
    "says", ["a{", "a{b} 1", "a one\n", "# TYPE a gauge x y z\na 1 2 3 4\n", "\x00", '{"a']
)
def test_what_is_no_exposition_is_none(says):
    assert read(Scraped("m", "m", says)) is None or samples(shown(says)) == []
