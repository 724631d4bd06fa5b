"""The OpenAPI 3.1 document of the control API and of what llmux itself answers below /v1, made of the calls and of the types that they take and answer. Pure.

Source: the OpenAPI Specification 3.1.1, whose schemas are JSON Schema 2020-12, as pydantic writes it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from llmux.server.control._form import Call, Errors, Media, is_optional

Json = dict[str, object]

_REFERENCE = "#/components/schemas/{model}"
_ABOUT = "llmux: which model runs, and what makes it so. docs/control.md has an example of each call."
_PASSED_ON = {
    "description": (
        "Every other path below /v1 is passed on to the engine of the model that the request names in its JSON body, "
        "form or query, after that model was woken where need be; what it answers is the engine's."
    ),
    "parameters": [{"name": "path", "in": "path", "required": True, "schema": {"type": "string"}}],
    "responses": {"default": {"description": "What the engine answers, or an error in OpenAI's form."}},
}


def document(calls: Iterable[Call], version: str) -> Json:
    """Return the document of these calls, and in outline of what is passed on to engines."""
    calls = tuple(calls)
    named, schemas = _schemas(calls)
    paths: dict[str, Json] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, named)
    passed_on = {method: {"operationId": f"passed_on_{method}", **_PASSED_ON} for method in ("get", "post")}
    return {
        "openapi": "3.1.1",
        "info": {"title": "llmux", "version": version, "description": _ABOUT},
        "paths": {**paths, "/v1/{path}": passed_on},
        "components": {"schemas": schemas},
    }


_Key = tuple[type[BaseModel], Literal["validation", "serialization"]]


def _schemas(calls: tuple[Call, ...]) -> tuple[dict[_Key, Json], Json]:
    """Return where each type's schema is, and all schemas by their names."""
    keys: list[_Key] = [(call.body, "validation") for call in calls if call.body]
    for call in calls:
        keys += [(each, "serialization") for each in call.answers.values() if not isinstance(each, Media)]
    keys = list(dict.fromkeys([*keys, (Errors, "serialization")]))
    _, definitions = models_json_schema(keys, ref_template=_REFERENCE)
    named: dict[_Key, Json] = {key: {"$ref": _REFERENCE.format(model=key[0].__name__)} for key in keys}
    return named, dict(sorted(definitions["$defs"].items()))


def _operation(call: Call, named: Mapping[_Key, Json]) -> Json:
    told = inspect.cleandoc(call.handle.__doc__ or "")
    operation: Json = {
        "operationId": operation_id(call),
        "summary": told.split(". ")[0].rstrip("."),
        "description": told,
        "tags": [call.theme],
        "parameters": [*_path_parameters(call), *_query_parameters(call), *_header_parameters(call)],
        "responses": {
            **{str(int(status)): _answer(kind, named) for status, kind in call.answers.items()},
            **{str(int(status)): _refusal(status, named) for status in _refusals(call)},
        },
    }
    if call.body:
        content = {"application/json": {"schema": named[call.body, "validation"]}}
        operation["requestBody"] = {"required": not is_optional(call.body), "content": content}
    return operation


def operation_id(call: Call) -> str:
    """Return the name that generated clients give a call."""
    words = re.findall(r"[a-z0-9]+", call.path.removeprefix("/control"))
    return "_".join([call.method.lower(), *words])


def _answer(kind: type[BaseModel] | Media, named: Mapping[_Key, Json]) -> Json:
    if isinstance(kind, Media):
        return {"description": kind.told, "content": {kind.content_type: {"schema": kind.schema}}}
    content = {"application/json": {"schema": named[kind, "serialization"]}}
    return {"description": inspect.cleandoc(kind.__doc__ or kind.__name__), "content": content}


def _refusals(call: Call) -> list[HTTPStatus]:
    of_a_body = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE) if call.body else ()
    of_a_query = (HTTPStatus.BAD_REQUEST,) if call.query else ()
    return sorted({*call.errors, *of_a_body, *of_a_query})


def _refusal(status: HTTPStatus, named: Mapping[_Key, Json]) -> Json:
    content = {"application/json": {"schema": named[Errors, "serialization"]}}
    return {"description": status.phrase, "content": content}


def _path_parameters(call: Call) -> Iterator[Json]:
    for name in re.findall(r"\{(\w+)\}", call.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query_parameters(call: Call) -> Iterator[Json]:
    if call.query:
        schema = call.query.model_json_schema()
        for name, field in schema["properties"].items():
            described = {key: value for key, value in field.items() if key not in {"title", "description"}}
            yield {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": field.get("description", ""),
                "schema": described,
            }


def _header_parameters(call: Call) -> Iterator[Json]:
    for name, told in call.headers.items():
        yield {
            "name": name,
            "in": "header",
            "required": False,
            "description": told,
            "schema": {"type": "string"},
        }
