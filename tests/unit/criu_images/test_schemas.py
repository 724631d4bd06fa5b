"""The published schemas against what is written of every fixture and of a dump with something of everything."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from itertools import pairwise

import pytest
from jsonschema import Draft202012Validator

from llmux.criu_images._diff import find_changes, render_changes_json
from llmux.criu_images._dump import read_dump
from llmux.criu_images._explain import explain_log
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._message_table import MESSAGES
from llmux.criu_images._messages import Message
from llmux.criu_images._missing import find_missing
from llmux.criu_images._report_explain import render_explanation_json
from llmux.criu_images._report_missing import render_missing_json
from llmux.criu_images._report_tree import render_tree_json
from llmux.criu_images._report_why import render_why_json
from llmux.criu_images._sections import Section
from llmux.criu_images._stats import read_stats, render_stats_json
from llmux.criu_images._why import explain_path

from .live import IMAGES, NAMES, dump_of, inventory_of, manifest_of
from .published import DOCUMENTS, check, fields, schema, validator
from .shown import render_json


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_is_a_schema_of_version_1_that_refers_to_nothing_outside(document):
    Draft202012Validator.check_schema(schema(document))
    references = set(re.findall(r'"\$ref": "(.*?)"', json.dumps(schema(document))))
    assert references == {f"#/$defs/{name}" for name in schema(document)["$defs"]}
    assert schema(document)["$defs"]["version"]["const"] == 1
    assert "version" in schema(document)["required"]


def test_the_files_as_they_are_share_their_definitions():
    for path in files("llmux.criu_images").joinpath("schemas").iterdir():
        for reference in re.findall(r'"\$ref": "(.*?)"', path.read_text()):
            file, _, name = reference.rpartition("#/$defs/")
            assert name in json.loads(path.with_name(file or path.name).read_text())["$defs"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_field_is_described(document):
    assert {
        name for name, said in fields(schema(document)) if not {"description", "$ref"} & said.keys()
    } == set()


def objects(part):
    match part:
        case dict():
            own = [part] if part.get("type") == "object" else []
            return [*own, *(found for inner in part.values() for found in objects(inner))]
        case list():
            return [found for inner in part for found in objects(inner)]
        case _:
            return []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_object_may_have_a_field_that_is_not_described(document):
    closed = [
        part.get("additionalProperties") is False
        for part in objects(schema(document))
        if "properties" in part
    ]
    assert closed
    assert all(closed)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_documentation_has_each_field(document, pytestconfig):
    described = (pytestconfig.rootpath / "docs" / "json.md").read_text()
    names = {name for name, _ in fields(schema(document))}
    forms = ("`{}`", "`{}[]`", '"{}"')
    assert {name for name in names if not any(form.format(name) in described for form in forms)} == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_fixture_shown_whole_as_a_tree_and_by_what_is_missing(name, tmp_path):
    dump, inventory = dump_of(name), inventory_of(name)
    check("show", render_json(dump, inventory))
    check("show-tree", render_tree_json(dump, inventory))
    missing = find_missing(inventory, manifest_of(name), tmp_path)
    assert bool(missing) == bool(inventory.paths)
    check("show-missing", render_missing_json(missing))
    check("stats", render_stats_json(read_stats(IMAGES / name)))


@pytest.mark.parametrize("name", NAMES)
def test_why_for_each_path_of_a_fixture(name):
    dump, inventory = dump_of(name), inventory_of(name)
    for path in {item.path for item in inventory.paths}:
        check("show-why", render_why_json(explain_path(dump, inventory, path), None))


@pytest.mark.parametrize(("one", "other"), list(pairwise(NAMES)))
def test_what_two_fixtures_differ_in(one, other):
    changes = find_changes((dump_of(one), inventory_of(one)), (dump_of(other), inventory_of(other)))
    assert changes
    check("diff", render_changes_json(changes))


@pytest.mark.parametrize("section", [None, *Section])
def test_each_kind_of_show_alone(maker, section):
    maker.busy()
    dump = read_dump(maker.directory)
    check("show", render_json(dump, take_inventory(dump), section))


def test_all_that_show_may_write_is_written(maker):
    maker.busy()
    dump = read_dump(maker.directory)
    assert json.loads(render_json(dump, take_inventory(dump))).keys() == schema("show")["properties"].keys()


def failed(message: Message, value: str) -> bytes:
    said = message.say(**dict.fromkeys(message.holes, value))
    return f"(00.1)      7: Error (criu/x.c:1): {said}\n(00.2) Error (criu/cr-restore.c:2324): Restoring FAILED.\n".encode()


@pytest.mark.parametrize("value", ["7", "/a\x1b\\b"])
def test_an_explanation_of_each_message(value):
    for message in MESSAGES:
        found = explain_log(failed(message, value).splitlines(keepends=True))
        check("explain", render_explanation_json("a log", found, ["sleep(7) cwd"]))


@pytest.mark.parametrize(
    "log", [b"", b"\0\xff\n" * 50, b"(00.1) Restoring file locks", b"(00.1) Error (x.c:1): \xff\n"]
)
def test_an_explanation_of_logs_cut_short_and_of_no_logs(log):
    found = explain_log(log.splitlines(keepends=True))
    check("explain", render_explanation_json("standard input", found))


def test_a_field_that_is_not_described_is_a_fault():
    assert validator("undo").is_valid({"version": 1, "removed": [], "left": []})
    assert not validator("undo").is_valid({"version": 1, "removed": [], "left": [], "new": 1})
    assert not validator("undo").is_valid({"version": 2, "removed": [], "left": []})
    assert not validator("show").is_valid({"version": 1, "image_version": 2, "new": {}})
