"""The alerts and the dashboard ask for figures that there are, by labels that these have; a real Prometheus is in tests/integration/."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from llmux.server.metrics._catalogue import FAMILIES, Kind

DEPLOY = Path(__file__).resolve().parents[4] / "deploy"
_SELECTED = re.compile(r"\b(?<!:)(llmux_[a-z0-9_]+)(?:\{([^}]*)\})?")
_TARGET = {"job", "instance"}


def exposed():
    """Return the labels of each series by its name."""
    for family in FAMILIES:
        if family.kind is Kind.HISTOGRAM:
            yield f"{family.name}_bucket", {*family.labels, "le"}
            yield from ((f"{family.name}_{part}", set(family.labels)) for part in ("sum", "count"))
        else:
            yield family.exposed, set(family.labels)


def rules():
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads((DEPLOY / "grafana/llmux.json").read_text())


def expressions():
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ()))
    yield from (each["definition"] for each in dashboard()["templating"]["list"] if "definition" in each)


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_asks_for_what_there_is(expression):
    known = dict(exposed())
    for name, selector in _SELECTED.findall(expression):
        if selector or name in known or name.endswith("_total"):
            asked = set(re.findall(r"([a-z_]+)\s*(?:=|!=|=~|!~)\s*\"", selector))
            assert asked <= known[name] | _TARGET, name


def test_every_alert_says_how_bad_it_is_what_is_so_and_what_to_look_at():
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({each["alert"] for each in alerts}) == len(alerts)
    for alert in alerts:
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert alert["annotations"].keys() == {"summary", "description"}


def test_the_dashboards_panels_are_apart_and_have_titles():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert panel["title"]
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_a_panel_says_what_it_is_of_and_asks_whatever_prometheus_is_chosen():
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert target.get("legendFormat") or panel["type"] == "stat", panel["title"]
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_what_is_counted_in_each_step_is_in_one_bar():
    """An increase over more than a step would be drawn in several of them."""
    for panel in dashboard()["panels"]:
        counts = any("increase(" in target["expr"] for target in panel.get("targets", ()))
        assert counts == (panel.get("interval") == "1m"), panel["title"]
        if counts:
            assert panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] == "bars"
