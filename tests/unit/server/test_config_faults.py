"""pydantic's errors in words: the path, what is wrong, what was probably meant."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator

from llmux.server._config_faults import describe


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    colour: Literal["red", "green"] = "red"
    count: int = 0
    size: ByteSize = ByteSize(0)
    length: int = Field(default=0, alias="for")

    @field_validator("count")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("is odd")
        return value


class Rest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    count: int = 0
    pieces: tuple[Part, ...] = ()


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    parts: dict[str, Part] = {}
    rest: Rest | None = None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{}", "name: is required and missing"),
        ('{"name": "n", "part": {}}', "part: unknown field; did you mean 'parts'?"),
        ('{"name": "n", "zzz": {}}', "zzz: unknown field; known here: name, parts, rest"),
        ('{"name": 7}', "name: should be a valid string, and is 7"),
        (
            '{"name": "n", "parts": {"a": {"colour": "grean"}}}',
            "parts.a.colour: \"grean\" is not one of 'red' or 'green'; did you mean 'green'?",
        ),
        (
            '{"name": "n", "parts": {"a": {"colour": "blue"}}}',
            "parts.a.colour: \"blue\" is not one of 'red' or 'green'",
        ),
        (
            '{"name": "n", "parts": {"a": {"color": "red"}}}',
            "parts.a.color: unknown field; did you mean 'colour'?",
        ),
        ('{"name": "n", "parts": {"a": {"count": 3}}}', "parts.a.count: is odd"),
        ('{"name": "n", "parts": {"a": {"fro": 3}}}', "parts.a.fro: unknown field; did you mean 'for'?"),
        (
            '{"name": "n", "parts": {"a": {"size": "3 apples"}}}',
            'parts.a.size: "3 apples" is no size; say a number of bytes or a text like "20GiB"',
        ),
    ],
)
def test_a_fault_is_told_with_its_path(text, line):
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate_json(text)
    assert describe(caught.value, Whole) == [line]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"for": 1}, "for: unknown field; it belongs at parts.NAME.for or rest.pieces.N.for"),
        ({"pieces": []}, "pieces: unknown field; it belongs at rest.pieces"),
        (
            {"count": 2},
            "count: unknown field; it belongs at parts.NAME.count or rest.count or rest.pieces.N.count",
        ),
        ({"parts": {"a": {"name": "n"}}}, "parts.a.name: unknown field; it belongs at the top"),
        ({"rest": {"colour": "red"}}, "rest.colour: unknown field; it belongs at rest.pieces.N.colour"),
    ],
)
def test_a_field_of_another_section_is_told_where_it_belongs(fields, line):
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"name": "n"} | fields)
    assert describe(caught.value, Whole) == [line]


def test_what_is_no_json_or_no_object_is_told_without_a_path():
    for text, words in (("{", "it is not JSON: "), ("[]", "it should be an object, and is []")):
        with pytest.raises(ValidationError) as caught:
            Whole.model_validate_json(text)
        assert describe(caught.value, Whole)[0].startswith(words)


def test_a_long_value_is_cut():
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"name": ["x" * 1000]})
    assert len(describe(caught.value, Whole)[0]) < 200
