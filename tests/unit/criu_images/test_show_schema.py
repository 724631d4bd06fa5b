"""The published schema of `show --json` against the JSON of every fixture and of a dump with something of everything."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._sections import Section

from .live import NAMES, dump_of, inventory_of
from .shown import render_json


def published():
    return json.loads(files("llmux.criu_images").joinpath("show.schema.json").read_text())


def closed(schema):
    """Forbid every key that the schema does not name: the published one lets new keys come."""
    match schema:
        case dict():
            inner = {key: closed(value) for key, value in schema.items()}
            named = "properties" in schema and schema.get("type") == "object"
            return inner | {"additionalProperties": False} if named else inner
        case list():
            return [closed(item) for item in schema]
        case _:
            return schema


@cache
def strict():
    return Draft202012Validator(closed(published()))


def check(shown):
    strict().validate(shown)


def test_it_is_a_schema_and_says_its_version():
    Draft202012Validator.check_schema(published())
    assert published()["properties"]["version"] == {
        "description": "Grows only when a key changes its meaning or goes away.",
        "const": 1,
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_names_every_key_of_a_fixture(name):
    check(json.loads(render_json(dump_of(name), inventory_of(name))))


@pytest.mark.parametrize("section", [None, *Section])
def test_it_holds_for_each_kind_alone(maker, section):
    maker.busy()
    dump = read_dump(maker.directory)
    check(json.loads(render_json(dump, take_inventory(dump), section)))


def test_all_that_it_names_is_written(maker):
    maker.busy()
    dump = read_dump(maker.directory)
    assert json.loads(render_json(dump, take_inventory(dump))).keys() == published()["properties"].keys()


def test_keys_to_come_are_no_fault():
    Draft202012Validator(published()).validate({"version": 1, "image_version": 2, "new": {}})
    assert not strict().is_valid({"version": 1, "image_version": 2, "new": {}})


def named(schema):
    match schema:
        case dict():
            own = schema.get("properties", {}).keys() if schema.get("type") == "object" else set()
            return {*own, *(key for value in schema.values() for key in named(value))}
        case list():
            return {key for item in schema for key in named(item)}
        case _:
            return set()


def test_the_documentation_says_what_each_key_is(pytestconfig):
    described = (pytestconfig.rootpath / "docs" / "show-json.md").read_text()
    keys = named(published())
    assert {key for key in keys if f"`{key}`" not in described and f'"{key}"' not in described} == set()
