"""The JSON of plans and manifests of real dumps, and of what was made up to be told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from llmux.criu_images._paths import RawPath
from llmux.criu_images._plan import make_plan
from llmux.criu_images._report_written import render_manifest_json, render_plan_json, render_undone_json
from llmux.criu_images._safefs import Tree
from llmux.criu_images._survey import survey
from llmux.criu_images._undo import Left, Undone

from .live import NAMES, manifest_of
from .published import check
from .test_fixture_plans import fresh_container


@pytest.mark.parametrize("name", NAMES)
def test_plans_of_a_fixture_in_a_fresh_container_and_where_nothing_is(name, tmp_path):
    manifest = manifest_of(name)
    fresh = make_plan(manifest, fresh_container(manifest))
    with Tree(tmp_path) as tree:
        nowhere = make_plan(manifest, survey(manifest, tree))
    for plan in (fresh, nowhere, replace(fresh, conflicts=nowhere.conflicts, warnings=("a\n\x1b",))):
        written = render_plan_json(plan)
        check("plan", written)
        whole = json.loads(written)
        assert len(whole["actions"]) == len(plan.actions)
        assert [one["criu_says"] for one in whole["conflicts"]] == [one.criu_says for one in plan.conflicts]
        assert [one["likeness"] for one in whole["files"]] == [one.likeness.value for one in plan.compared]


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_of_a_fixture(name):
    manifest = manifest_of(name)
    written = render_manifest_json(manifest, ["a warning"])
    check("capture", written)
    whole = json.loads(written)
    assert (whole["seal"], whole["warnings"]) == (manifest.seal, ["a warning"])
    assert whole["carried"] <= whole["files"] == len(manifest.files)


def test_what_an_undo_left():
    written = render_undone_json(Undone([RawPath(b"/a\n")], [Left(RawPath(b"/\xff"), "in use")]))
    check("undo", written)
    assert json.loads(written) == {
        "version": 1,
        "removed": ["/a\\n"],
        "left": [{"path": "/\\xff", "why": "in use"}],
    }
