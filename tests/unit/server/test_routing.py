"""The model's name in a request, the headers that travel, the bodies in OpenAI's form."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmux.server import _routing
from llmux.server._routing import Card
from llmux.server.errors import Problem, RequestInvalid

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n\r\nRIFF\xff\r\n'
    b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n--x--\r\n'
)


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "", "text/plain"]
)
def test_a_json_body_names_its_model_whatever_its_type(content_type):
    said = _routing.read(content_type, b'{"model": "qwen3-0.6b", "x": 1}')
    assert (said.model, said.fields) == ("qwen3-0.6b", {"model": "qwen3-0.6b", "x": 1})


@pytest.mark.parametrize("text", ['"\\ud83d"', "NaN", "1e999", "123456789012345678901234567890", '"\\u0000"'])
def test_a_body_says_what_python_reads_in_it(text):
    body = f'{{"model": "a", "x": [{text}]}}'
    assert repr(_routing.read("", body.encode()).fields) == repr(json.loads(body))
    assert repr(_routing.read("", body.encode("utf-16")).fields) == repr(json.loads(body))


def test_a_form_names_its_model():
    assert _routing.read("multipart/form-data; boundary=x", FORM).model == "whisper"


@pytest.mark.parametrize(
    ("body", "says", "param"),
    [
        (b"", "is not JSON", None),
        (b"{", "is not JSON", None),
        (b"\xff\xfe\xfa", "is not JSON", None),
        (b"[" * 100_000, "is not JSON", None),
        (b"[]", "is not a JSON object", None),
        (b'{"model": 7}', "is not a text", "model"),
        (b'{"model": ""}', "is not a text", "model"),
        (b'{"model": "a", "model": "b"}', "more than one", "model"),
        (b'{"mod\\u0065l": "a", "model": "b"}', "more than one", "model"),
        (b'{"model": "a", "Model": "b"}', "more than one", "model"),
        (b'{"MODEL": "a"}', "more than one", "model"),
    ],
)
def test_a_body_that_is_no_request_is_refused_with_the_reason(body, says, param):
    with pytest.raises(RequestInvalid, match=says) as caught:
        _routing.read("application/json", body)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b'{"model": "a", "b": {"model": "c"}}', b'{"model": "a", "b": "\\u0065"}'])
def test_a_model_inside_another_object_is_no_second_one(body):
    assert _routing.read("application/json", body).model == "a"


@pytest.mark.parametrize("body", [b"{}", b'{"model": null}'])
def test_a_body_may_name_no_model(body):
    assert _routing.read("application/json", body).model is None


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=y"])
def test_a_form_may_name_no_model(content_type):
    assert _routing.read(content_type, FORM).model is None


def test_a_form_that_names_two_models_is_refused():
    with pytest.raises(RequestInvalid, match="more than one"):
        _routing.read("multipart/form-data; boundary=x", FORM.removesuffix(b"--x--\r\n") + FORM)


@settings(deadline=None)  # a busy machine is not a slow parser
@given(st.binary(max_size=200), st.sampled_from(["application/json", "multipart/form-data; boundary=x"]))
def test_any_body_names_a_model_or_is_refused(body, content_type):
    with suppress(RequestInvalid):
        assert _routing.read(content_type, body).model is None or content_type.startswith("multipart")


def test_hop_by_hop_headers_stay_behind_and_the_rest_travels_in_order():
    headers = [
        ("Host", "here"),
        ("Connection", "close, X-Mine"),
        ("x-mine", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "3"),
        ("Authorization", "Bearer t"),
        ("Cookie", "a"),
        ("Cookie", "b"),
        ("Accept-Encoding", "gzip"),
    ]
    assert _routing.request_headers(headers) == [
        ("Authorization", "Bearer t"),
        ("Cookie", "a"),
        ("Cookie", "b"),
        ("Accept-Encoding", "gzip"),
    ]


def test_an_answer_keeps_its_length_and_encoding():
    headers = [("Content-Length", "3"), ("Content-Encoding", "gzip"), ("Keep-Alive", "5")]
    assert _routing.response_headers(headers)[:2] == headers[:2]


def test_an_answer_speaks_for_neither_llmuxs_address_nor_its_account():
    headers = [("Set-Cookie", "a=b"), ("Alt-Svc", "h3"), ("OpenAI-Organization", "org-ours"), ("X-A", "kept")]
    told = [("Content-Type", "text/html"), ("Content-Security-Policy", "default-src *"), *headers]
    assert _routing.response_headers(told) == [
        ("Content-Type", "text/html"),
        ("X-A", "kept"),
        ("content-security-policy", "sandbox"),
        ("x-content-type-options", "nosniff"),
    ]


def test_an_error_has_the_form_that_openai_clients_parse():
    body = _routing.error_body(
        Problem("model_not_found", "no such model", "list them"), "invalid_request_error", "model"
    )
    assert body == {
        "error": {
            "message": "no such model. list them",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
            "hint": "list them",
        }
    }


def test_a_streams_error_is_an_event_that_openai_clients_raise():
    event = _routing.error_event(Problem("engine_stalled", "it is\nsilent"))
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    error = json.loads(event.removeprefix(b"data: "))["error"]
    assert (error["message"], error["code"], error["type"]) == (
        "it is\nsilent",
        "engine_stalled",
        "server_error",
    )


def test_an_answer_tells_of_its_requests_way():
    told = [("x-llmux-queue-ms", "1235"), ("x-llmux-wake", "cold")]
    assert _routing.way_headers(1.2346, "cold", None) == told
    assert _routing.way_headers(1.2346, "cold", "m@2") == [*told, ("x-llmux-replica", "m@2")]


def test_the_list_of_models():
    body = _routing.models_body([Card("a", "a"), Card("b", "/b", "a")], 7)
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["a", "b"]
    assert [(model["root"], model["parent"]) for model in body["data"]] == [("a", None), ("/b", "a")]
