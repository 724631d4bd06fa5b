"""The OpenAPI document against the routes, the answers, and whatever schemathesis comes up with."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.config import (
    ChecksConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)

from llmux.server import _app
from llmux.server._web import RELOADER
from llmux.server.control import _openapi, calls

ENDLESS = {"get_events", "get_logs", "get_logs_model"}
"""What may stream without end."""


@pytest.fixture
def app(make_driver, make_hands):
    return _app.build(make_driver({"m": make_hands(), "n": make_hands()}))


def served(app):
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource.canonical.startswith(("/control", "/openapi")) and route.method != "HEAD"
    }


def test_the_document_has_each_route_and_no_other(app):
    document = _openapi.document(calls(reloadable=False), "1")
    told = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        if not path.startswith("/v1")
        for method in methods
    }
    assert told == served(app)


def test_what_reloads_is_there_where_there_is_a_configuration_to_reload():
    paths = [set(_openapi.document(calls(reloadable=each), "1")["paths"]) for each in (True, False)]
    assert "/control/reload" in paths[0] - paths[1]


def test_each_operation_has_a_name_of_its_own_a_summary_and_known_schemas():
    document = _openapi.document(calls(reloadable=True), "1")
    operations = [
        each for path, methods in document["paths"].items() if "v1" not in path for each in methods.values()
    ]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
    assert all(re.match(r"[A-Z].+[a-z]", each["summary"]) for each in operations)
    referred = set(re.findall(r"'#/components/schemas/(\w+)'", str(document)))
    assert referred == set(document["components"]["schemas"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_what_is_answered_is_what_the_document_says(serve, app):
    assert RELOADER not in app
    async with aiohttp.ClientSession(await serve(app)) as session:
        async with session.get("/openapi.json") as response:
            document = await response.json()

        async def check(method, path, body=None):
            async with session.request(method, path, json=body) as response:
                told = document["paths"][path][method.lower()]["responses"][str(response.status)]
                schema = told["content"]["application/json"]["schema"]
                root = {**schema, "components": document["components"]}
                jsonschema.Draft202012Validator(root).validate(await response.json())
                return response.status

        assert await check("POST", "/control/wake", {"model": "m"}) == 200
        assert await check("POST", "/control/sleep", {"model": "m"}) == 200
        assert await check("GET", "/control/status") == 200
        assert await check("POST", "/control/sleep", {"model": "nobody"}) == 404
        assert await check("POST", "/control/sleep", {"model": "n"}) == 409
        assert await check("POST", "/control/wake", {}) == 400


def fuzz(document, url):
    # Which sleeps a machine can do, and which go together, is no matter of a schema: such a refusal is a 400.
    acceptance = PositiveDataAcceptanceConfig(expected_statuses=["2xx", "400", "404", "409"])
    project = ProjectConfig(checks=ChecksConfig(positive_data_acceptance=acceptance))
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_dict(document, config=config)
    for found in schema.get_all_operations():
        operation = found.ok()
        raw = operation.definition.raw
        if raw["operationId"] in ENDLESS or operation.path.startswith("/v1"):
            continue
        # Any text may be an id, and any a model's name in a path.
        can_be_wrong = any(each["in"] != "path" for each in raw["parameters"]) or "requestBody" in raw
        for mode in GenerationMode if can_be_wrong else (GenerationMode.POSITIVE,):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=12,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            )
            def probe(case):
                case.call_and_validate(base_url=url, timeout=20)

            probe()


async def test_schemathesis_finds_nothing(serve, app):
    url = await serve(app)
    document = _openapi.document(calls(reloadable=False), "1")
    await asyncio.to_thread(fuzz, document, str(url).rstrip("/"))
