"""Traces as a collector gets them: of which spans, under whom, and what is in them and what is not."""

from __future__ import annotations

import asyncio
import re
import sys
from importlib.metadata import version

import aiohttp
import pytest

from llmux.server import _app, tracing
from llmux.server._gate import Gate
from llmux.server._model import Eviction, Process, Weights
from llmux.server.access.keys import Key, Limits, digest
from llmux.server.access.policy import Access
from llmux.server.access.roles import Role
from llmux.server.config import TracingConfig
from llmux.server.errors import NodeUnfit
from llmux.server.tracing._export import close, provider
from otlp import CLIENT, SERVER

CHAT = "/v1/chat/completions"
WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
SECRET = "planted-8d21"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}


async def ask(session, model="m", path=CHAT, **options):
    async with session.post(path, json={"model": model}, **options) as response:
        await response.read()
        return response


async def test_one_trace_holds_the_wait_the_wakes_phases_and_the_way_through_the_engine(
    traced, collector, engine, make_hands, stored
):
    session = await traced({"m": make_hands(engine.url, stored=stored, eviction=WARM)})
    await ask(session)
    async with session.post("/control/sleep", json={"model": "m"}):
        pass
    response = await ask(session)
    _, root = await collector.until("POST chat/completions", 2)
    wait, proxy = collector.children(root)
    (wake,) = collector.children(wait)
    (phase,) = collector.children(wake)
    assert [each.name for each in (wait, wake, phase, proxy)] == ["wait", "wake", "wake.wake", "proxy"]
    assert (root.kind, proxy.kind, root.parent) == (SERVER, CLIENT, "")
    assert root.facts == {
        "http.request.method": "POST",
        "url.path": CHAT,
        "url.scheme": "http",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 5,
        "llmux.request_id": response.headers["X-Request-ID"],
        "llmux.replica": "m",
        "llmux.wake": "warm",
        "llmux.outcome": "answered",
    }
    assert wake.facts == {"gen_ai.request.model": "m", "llmux.replica": "m", "llmux.wake": "warm"}
    assert proxy.events == ("first_byte",)
    assert root.began <= wait.began <= wake.began <= phase.began <= phase.ended <= wake.ended <= wait.ended
    assert wait.ended <= proxy.began <= proxy.ended <= root.ended
    assert not any(each.failed for each in collector.spans)


async def waiting(session):
    async with session.get("/control/requests") as response:
        return len((await response.json())["requests"])


async def test_requests_that_wait_for_one_wake_have_a_copy_each_linked_to_the_first(
    traced, collector, engine, make_hands
):
    started = asyncio.Event()
    session = await traced({"m": make_hands(engine.url, gates={"cold_start": started})})
    asking = asyncio.gather(ask(session), ask(session), ask(session))
    while await waiting(session) < 3:  # noqa: ASYNC110 - it is another's
        await asyncio.sleep(0.01)
    started.set()
    await asking
    await collector.until("POST chat/completions", 3)
    (first,) = [each for each in collector.named("wake") if not each.parent]
    copies = [each for each in collector.named("wake") if each.parent]
    assert {each.links for each in copies} == {(first.id,)}
    assert len({each.trace for each in copies} - {first.trace}) == 3
    assert first.links == ()
    assert first.facts["llmux.wake"] == "cold_start"


async def test_what_made_room_is_in_the_trace_before_the_wake(traced, collector, engine, make_hands):
    hands = {"m": make_hands(engine.url, eviction=WARM), "n": make_hands(engine.url, eviction=WARM)}
    session = await traced(hands, max_awake=1)
    await ask(session, "m")
    await ask(session, "n")
    _, root = await collector.until("POST chat/completions", 2)
    sleep, wake = collector.children(collector.children(root)[0])
    assert (sleep.name, sleep.facts["gen_ai.request.model"]) == ("sleep", "m")
    assert (wake.name, wake.facts["gen_ai.request.model"]) == ("wake", "n")
    assert [each.name for each in collector.children(sleep)] == ["sleep.engine_sleep"]
    assert sleep.ended <= wake.began


async def test_a_clients_trace_goes_on_here_and_in_the_engine(traced, collector, engine, make_hands):
    session = await traced({"m": make_hands(engine.url)})
    await ask(session, headers=CONTEXT)
    (root,) = await collector.until("POST chat/completions")
    (proxy,) = collector.named("proxy")
    assert (root.trace, root.parent) == (TRACE, PARENT)
    assert engine.headers[0].getall("traceparent") == [f"00-{TRACE}-{proxy.id}-01"]
    assert engine.headers[0].getall("tracestate") == ["vendor=1"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"tracestate": "vendor=1"},
        {"traceparent": f"00-{TRACE}-{PARENT}", "tracestate": "vendor=1"},
        {"traceparent": f"00-{'0' * 32}-{PARENT}-01"},
        [("traceparent", CONTEXT["traceparent"]), ("traceparent", CONTEXT["traceparent"])],
    ],
)
async def test_what_is_no_context_begins_a_trace(traced, collector, engine, make_hands, headers):
    session = await traced({"m": make_hands(engine.url)})
    await ask(session, headers=headers)
    (root,) = await collector.until("POST chat/completions")
    (proxy,) = collector.named("proxy")
    assert (root.parent, root.trace == TRACE) == ("", False)
    (passed_on,) = engine.headers[0].getall("traceparent")
    assert re.fullmatch(f"00-{root.trace}-{proxy.id}-0[13]", passed_on)  # sampled, and by level 2 random
    assert "tracestate" not in engine.headers[0]


async def test_what_its_client_does_not_have_sampled_is_passed_on_so_and_not_sent(
    traced, collector, engine, make_hands
):
    session = await traced({"m": make_hands(engine.url)})
    await ask(session, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    await ask(session)
    (root,) = await collector.until("POST chat/completions")
    assert root.trace != TRACE
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", engine.headers[0]["traceparent"])


async def test_what_the_door_refuses_is_a_span_of_its_clients_trace(traced, collector, engine, make_hands):
    keys = [Key("k", digest("k"), limits=Limits(requests=1)), Key("o", digest("o"), Role.OBSERVE)]
    session = await traced({"m": make_hands(engine.url)}, gate=Gate(Access.of(keys)))
    await ask(session, headers={"x-api-key": "k"})
    for key in ("nobody", "o", "k"):
        await ask(session, headers=CONTEXT | {"x-api-key": key})
    async with session.get("/v1/models"), session.get("/control/status"), session.get("/nowhere"):
        pass
    answered, *refused = await collector.until("POST chat/completions", 4)
    assert answered.facts["llmux.outcome"] == "answered"
    assert [(each.trace, each.parent, each.kind, each.failed) for each in refused] == [
        (TRACE, PARENT, SERVER, False)
    ] * 3
    told = [(each.facts["http.response.status_code"], each.facts["error.type"]) for each in refused]
    assert told == [(401, "invalid_api_key"), (403, "permission_denied"), (429, "rate_limit_exceeded")]
    assert {each.facts["llmux.outcome"] for each in refused} == {"refused"}
    assert all(each.began < each.ended for each in refused)
    assert not [each for each in collector.spans if each.name.startswith("GET")]


async def test_a_request_that_is_asked_again_waits_and_is_proxied_twice(
    traced, collector, engine, make_hands
):
    session = await traced({"m": make_hands(engine.url)})
    engine.failures = 1
    assert (await ask(session)).status == 200
    (root,) = await collector.until("POST chat/completions")
    children = collector.children(root)
    assert [(each.name, each.failed) for each in children] == [
        ("wait", False),
        ("proxy", True),
        ("wait", False),
        ("proxy", False),
    ]
    assert children[1].facts["error.type"] == "engine_gone"
    parents = [headers["traceparent"].split("-")[2] for headers in engine.headers]
    assert parents == [children[1].id, children[3].id]


async def test_a_wake_that_fails_is_told_with_the_wait_for_it(traced, collector, engine, make_hands):
    session = await traced({"m": make_hands(engine.url, broken={"cold_start"})})
    assert (await ask(session)).status == 503
    (root,) = await collector.until("POST chat/completions")
    (wait,) = collector.children(root)
    (wake,) = collector.children(wait)
    assert [each.failed for each in (root, wait, wake)] == [True, True, True]
    assert root.facts["error.type"] == wait.facts["error.type"] == "start_refused"
    assert root.facts["http.response.status_code"] == 503


async def test_a_clients_own_fault_is_no_failure_of_the_servers(traced, collector, engine, make_hands):
    session = await traced({"m": make_hands(engine.url)})
    await ask(session, "unknown")
    (root,) = await collector.until("POST chat/completions")
    assert (root.facts["error.type"], root.failed) == ("model_not_found", False)
    assert collector.children(root) == []


async def test_no_span_has_anything_of_what_was_said_nor_a_key(traced, collector, engine, make_hands):
    session = await traced({"m": make_hands(engine.url)})
    body = {"model": "m", "prompt": SECRET, "user": SECRET}
    headers = {"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET, "Cookie": SECRET}
    async with session.post(f"/v1/completions?key={SECRET}", json=body, headers=headers):
        pass
    async with session.request("PROPFIND", "/v1/strange", json=body):
        pass
    await collector.until("POST completions")
    (strange,) = await collector.until("HTTP other")
    assert strange.facts["http.request.method"] == "_OTHER"
    assert SECRET.encode() not in collector.raw


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("OTEL_SERVICE_NAME", "front", "front"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=door", "door"),
        ("OTEL_RESOURCE_ATTRIBUTES", "zone=a", "llmux"),
    ],
)
async def test_the_service_is_named_as_the_variables_say(collector, monkeypatch, variable, value, name):
    monkeypatch.setenv(variable, value)
    made = await asyncio.to_thread(provider)
    made.get_tracer("test").start_span("any").end()
    await close(made, 5)
    (span,) = collector.spans
    assert (span.of["service.name"], span.of["service.version"]) == (name, version("llmux"))
    assert span.of.get("zone") == ("a" if value == "zone=a" else None)


async def test_the_sampler_is_the_variables_too(traced, collector, engine, make_hands, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    session = await traced({"m": make_hands(engine.url)})
    await ask(session)
    assert engine.headers[0]["traceparent"][-3:] in {"-00", "-02"}
    await asyncio.sleep(0.1)
    assert collector.spans == []


async def test_without_it_a_clients_context_passes_as_it_is(serve, engine, make_driver, make_hands):
    app = _app.build(make_driver({"m": make_hands(engine.url)}))
    await tracing.attach(app, TracingConfig())
    async with aiohttp.ClientSession(await serve(app)) as session:
        await ask(session, headers=CONTEXT)
        await ask(session)
    assert {**engine.headers[0], **CONTEXT} == dict(engine.headers[0])
    assert "traceparent" not in engine.headers[1]


async def test_what_the_variables_say_wrong_is_a_fault_of_the_field(monkeypatch, make_driver, make_hands):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(NodeUnfit, match=r"tracing.enabled: .* \(OTEL_\.\.\.\) .*max_queue_size"):
        await tracing.attach(_app.build(make_driver({"m": make_hands()})), TracingConfig(enabled=True))


async def test_without_the_extra_the_error_says_what_to_install(monkeypatch, make_driver, make_hands):
    monkeypatch.setitem(sys.modules, "llmux.server.tracing._running", None)
    with pytest.raises(NodeUnfit, match=r"pip install '\.\[otel\]'") as told:
        await tracing.attach(_app.build(make_driver({"m": make_hands()})), TracingConfig(enabled=True))
    assert told.value.faults[0].startswith("tracing.enabled: ")
