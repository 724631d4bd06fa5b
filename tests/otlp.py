"""A collector of OpenTelemetry: takes traces by OTLP over HTTP, as protobuf, and keeps them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent


@dataclass(frozen=True)
class Span:
    """A span as it came."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    began: int
    ended: int
    facts: dict[str, object]
    events: tuple[str, ...]
    links: tuple[str, ...]
    """The ids of the spans that it is linked to."""
    failed: bool
    of: dict[str, object]
    """What the resource says that it is of."""


@dataclass
class Collector:
    """What has come."""

    spans: list[Span] = field(default_factory=list)
    raw: bytes = b""
    url: str = ""
    status: int = 200
    """What it answers with."""

    def named(self, name: str) -> list[Span]:
        return [each for each in self.spans if each.name == name]

    def children(self, of: Span) -> list[Span]:
        found = [each for each in self.spans if (each.trace, each.parent) == (of.trace, of.id)]
        return sorted(found, key=lambda each: each.began)

    async def until(self, name: str, count: int = 1) -> list[Span]:
        """Wait for so many spans of this name."""
        async with asyncio.timeout(30):
            while len(self.named(name)) < count:  # noqa: ASYNC110 - a handler has no condition to wait for
                await asyncio.sleep(0.01)
        return self.named(name)

    async def take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if self.status == 200:
            self.raw += body
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        return web.Response(
            status=self.status,
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Have a collector listen."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    async with TestServer(app) as server:
        collector.url = str(server.make_url("/"))
        yield collector


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        of = _facts(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    kind=span.kind,
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    facts=_facts(span.attributes),
                    events=tuple(event.name for event in span.events),
                    links=tuple(link.span_id.hex() for link in span.links),
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    of=of,
                )


def _facts(pairs: list[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


SERVER, CLIENT = Sent.SPAN_KIND_SERVER, Sent.SPAN_KIND_CLIENT
