"""Fields of a form where they lie."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmux.server import _multipart
from llmux.server.errors import RequestInvalid

TYPE = "multipart/form-data; boundary=x"


def form(*fields: tuple[str, bytes]) -> bytes:
    parts = (
        b'--x\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + value + b"\r\n"
        for name, value in fields
    )
    return b"".join(parts) + b"--x--\r\n"


def values(content_type: str, body: bytes) -> list[tuple[object, bytes]]:
    return [(part.name, body[part.start : part.end]) for part in _multipart.parts(content_type, body)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["model", "file", "a b"]), st.binary(max_size=50))))
def test_each_field_has_its_value(fields):
    fields = [(name, value) for name, value in fields if b"--x" not in value]
    assert values(TYPE, form(*fields)) == fields


def test_a_preamble_and_a_quoted_boundary_are_no_trouble():
    body = b"to be ignored\r\n" + form(("model", b"m"))
    assert values('multipart/form-data; charset=utf-8; boundary="x"', body) == [("model", b"m")]


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=y"])
def test_a_form_with_another_boundary_has_no_fields(content_type):
    assert values(content_type, form(("model", b"m"))) == []


def test_a_form_of_very_many_parts_is_refused_before_they_are_read():
    part = b"--x\r\na: b\r\n\r\n\r\n"
    assert len(values(TYPE, part * 200 + b"--x--\r\n")) == 200
    with pytest.raises(RequestInvalid, match="more than 256 parts"):
        values(TYPE, part * 70_000)


@pytest.mark.parametrize("parameter", ["x*", "x*0*", "boundary*", "boundary=x; boundary=y"])
def test_a_content_type_that_cannot_be_read_is_refused(parameter):
    with pytest.raises(RequestInvalid, match="Content-Type"):
        values(f"multipart/form-data; {parameter}", form(("model", b"m")))
