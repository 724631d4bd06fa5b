"""docs/configuration.md is what the types say, and what it shows loads."""

from __future__ import annotations

import re

from configuration_page import PAGE, PLACES, page

from llmux.server import config
from llmux.server.config import Config


def test_the_page_is_as_the_types_say():
    assert PAGE.read_text("utf-8") == page(), "run `make configuration`"


def test_each_section_and_each_field_has_its_row():
    schema = Config.model_json_schema()
    assert set(PLACES) == {"Config", *schema["$defs"]}
    for section in (schema, *schema["$defs"].values()):
        for name in section["properties"]:
            assert f"| `{name}` |" in page()


def test_each_field_is_described():
    undescribed = [line for line in page().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert undescribed == []


def test_the_example_loads():
    (example,) = re.findall(r"```json\n(.*?)```", page(), re.DOTALL)
    loaded = config.parse(example)
    assert loaded.models["chat"].gpu_memory_fraction() == 0.45
    assert config.remarks(loaded) == ()
