"""docs/configuration.md and docs/config.schema.json are what the types say, and what the page shows loads."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from configuration_page import PAGE, PLACES, SCHEMA, page, schema

from llmux.server import config
from llmux.server.config import Config


def test_the_page_is_as_the_types_say():
    assert PAGE.read_text("utf-8") == page(), "run `make configuration`"


def test_each_section_and_each_field_has_its_row():
    schema = Config.model_json_schema()
    assert set(PLACES) == {"Config", *schema["$defs"]} - {"JsonValue"}  # any value, no section
    for section in (schema, *schema["$defs"].values()):
        for name in section.get("properties", ()):
            assert f"| `{name}` |" in page()


def test_each_field_is_described():
    undescribed = [line for line in page().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert undescribed == []


def test_the_example_loads():
    (example,) = re.findall(r"```json\n(.*?)```", page(), re.DOTALL)
    loaded = config.parse(example)
    assert loaded.models["chat"].gpu_memory_fraction() == 0.45
    assert config.remarks(loaded) == ()


def test_the_schema_is_as_the_types_say():
    assert SCHEMA.read_text("utf-8") == schema(), "run `make configuration`"
    jsonschema.Draft202012Validator.check_schema(json.loads(schema()))


def test_the_example_is_as_the_schema_says_and_what_is_wrong_is_not():
    (example,) = re.findall(r"```json\n(.*?)```", page(), re.DOTALL)
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    good = json.loads(example)
    validator.validate(good | {"$schema": "config.schema.json"})
    for wrong in ({"prot": 1}, {"port": 0}, {"models": {}}, {"resources": {"disk": True}}):
        assert not validator.is_valid(good | wrong), wrong


@pytest.mark.parametrize("form", ["yaml", "toml"])
def test_the_examples_in_other_formats_are_the_first_ones_beginning(form):
    (text,) = re.findall(rf"```{form}\n(.*?)```", page(), re.DOTALL)
    chat = config.parse(text, f"c.{form}").models["chat"]
    (example,) = re.findall(r"```json\n(.*?)```", page(), re.DOTALL)
    whole = config.parse(example).models["chat"]
    assert (chat.model_path, chat.port, chat.extra_args, chat.eviction) == (
        whole.model_path,
        whole.port,
        whole.extra_args,
        whole.eviction,
    )
