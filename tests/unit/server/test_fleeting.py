"""Values that are quick to make: equal by their fields, and frozen as far as the type checker goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mypy import api

from llmux.server._fleeting import fleeting

SETS = """
from llmux.server._fleeting import fleeting

@fleeting(kw_only=True)
class Value:
    number: int

Value(number=1).number = 2
"""


@fleeting()
class Value:
    number: int
    name: str = ""


def test_they_are_equal_by_their_fields_and_can_be_keys():
    assert replace(Value(1), number=2) == Value(2)
    assert {Value(1): "it"}[Value(1)] == "it"
    assert Value(1) != Value(1, "other")


def test_they_have_no_fields_but_their_own():
    with pytest.raises(AttributeError):
        Value(1).other = 2


def test_the_type_checker_lets_nobody_set_a_field(tmp_path):
    said, _, code = api.run(["--config-file=", f"--cache-dir={tmp_path}", "-c", SETS])
    assert code == 1
    assert 'Property "number" defined in "Value" is read-only' in said
