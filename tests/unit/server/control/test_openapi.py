"""The OpenAPI document against the routes, the answers, and whatever schemathesis comes up with."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import jsonschema
import pytest
from fuzzing import fuzz
from schemathesis.config import ChecksConfig, PositiveDataAcceptanceConfig

from llmux.server import _app
from llmux.server._web import RELOADER
from llmux.server.control import _named, _openapi, calls

ENDLESS = {"get_events", "get_logs", "get_logs_model"}
"""What may stream without end."""
PASSED_ON = {"passed_on_get", "passed_on_post"}
"""Told in outline: what else there is below /v1 is the engines'."""


@pytest.fixture
def app(make_driver, make_hands):
    return _app.build(make_driver({"m": make_hands(), "n": make_hands()}))


def documented(*, reloadable=False):
    return _openapi.document((*calls(reloadable=reloadable), *_named.CALLS), "1")


def served(app):
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource.canonical.startswith(("/control", "/openapi", "/v1/models"))
        and route.method != "HEAD"
    }


def test_the_document_has_each_route_and_no_other(app):
    told = {
        (method.upper(), path)
        for path, methods in documented()["paths"].items()
        for method, operation in methods.items()
        if operation["operationId"] not in PASSED_ON
    }
    assert told == served(app)


def test_what_reloads_is_there_where_there_is_a_configuration_to_reload():
    paths = [set(documented(reloadable=each)["paths"]) for each in (True, False)]
    assert "/control/reload" in paths[0] - paths[1]


def test_each_operation_has_a_name_of_its_own_a_summary_and_known_schemas():
    document = documented(reloadable=True)
    operations = [
        each
        for methods in document["paths"].values()
        for each in methods.values()
        if each["operationId"] not in PASSED_ON
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
        assert await check("GET", "/v1/models") == 200
        assert await check("POST", "/control/sleep", {"model": "nobody"}) == 404
        assert await check("POST", "/control/sleep", {"model": "n"}) == 409
        assert await check("POST", "/control/wake", {}) == 400


async def test_schemathesis_finds_nothing(serve, app):
    url = await serve(app)
    # Which sleeps a machine can do, and which go together, is no matter of a schema: such a refusal is a 400.
    acceptance = PositiveDataAcceptanceConfig(expected_statuses=["2xx", "400", "404", "409", "422"])
    checks = ChecksConfig(positive_data_acceptance=acceptance)
    await asyncio.to_thread(fuzz, documented(), str(url).rstrip("/"), checks, ENDLESS | PASSED_ON)
