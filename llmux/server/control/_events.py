"""What happens here, as server-sent events: as it happens, and again from an id on for whoever was away.

Source: the HTML Standard's section on server-sent events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus

import msgspec
from aiohttp import web

from llmux.server._happenings import Entry
from llmux.server._web import DRIVER
from llmux.server.control._form import Call, Media, Query, query_of
from llmux.server.control._streaming import FEEDS, Feed, stream
from llmux.server.control._told_parts import iso
from llmux.server.errors import RequestInvalid

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx passes it on as it comes
}
_ALIVE = b": nothing has happened\n\n"


class WhichEvents(Query):
    """Which events to send."""

    since: int | None = None
    """The id after which they begin: 0 for all that are kept. It goes before Last-Event-ID; without either: what happens from now on."""
    model: str | None = None
    """Only those of one model."""
    kind: str | None = None
    """Only those of these kinds, with commas between."""


async def events(request: web.Request) -> web.StreamResponse:
    """Tell what happens, as server-sent events. Each has an id, its kind as `event`, and JSON as `data`."""
    asked, bus = query_of(request, WhichEvents), request.app[DRIVER].bus
    since = asked.since if asked.since is not None else _last_event_id(request)
    wanted = _filter(asked)
    feed = request.app[FEEDS].open()
    try:
        if since is not None:
            feed.begin(_replay(request, since, wanted))
        with bus.subscribed(partial(_give, feed, wanted)):
            return await stream(request, feed, _HEADERS, _ALIVE, partial(_last_words, feed))
    finally:
        request.app[FEEDS].close(feed)


def _replay(request: web.Request, since: int, wanted: Callable[[Entry], bool]) -> Iterator[bytes]:
    """Yield what is kept, and say first where that is not all; an id of before the last start stands for nothing."""
    bus = request.app[DRIVER].bus
    if not bus.complete_since(since):
        yield _event("gap", {"message": "some of what has happened since that id is no longer kept"})
    yield from map(_event_of, filter(wanted, bus.since(since if since <= bus.last else 0)))


def _give(feed: Feed, wanted: Callable[[Entry], bool], entry: Entry) -> None:
    if wanted(entry):
        feed.put(_event_of(entry))


def _event_of(entry: Entry) -> bytes:
    return _event(entry.kind, event_told(entry), entry.id)


def _last_words(feed: Feed) -> bytes:
    if feed.overrun:
        return _event(
            "dropped", {"message": "this reader has fallen too far behind; come back with Last-Event-ID"}
        )
    return _event("end", {"message": "llmux ends"})


def event_told(entry: Entry) -> dict[str, object]:
    """Return an entry as JSON can hold it."""
    happening: dict[str, object] = msgspec.to_builtins(entry.happening)
    return {"id": entry.id, "at": iso(entry.at), "kind": entry.kind, **happening}


def _filter(asked: WhichEvents) -> Callable[[Entry], bool]:
    kinds = {each.strip() for each in asked.kind.split(",")} if asked.kind else None

    def wanted(entry: Entry) -> bool:
        of_model = asked.model is None or getattr(entry.happening, "model", None) == asked.model
        return of_model and (kinds is None or entry.kind in kinds)

    return wanted


def _event(kind: str, data: dict[str, object], number: int | None = None) -> bytes:
    numbered = f"id: {number}\n" if number is not None else ""
    return f"{numbered}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _last_event_id(request: web.Request) -> int | None:
    said = request.headers.get("Last-Event-ID")
    if said is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", said):
        raise RequestInvalid("Last-Event-ID: is to be the id of an event, a number", "Last-Event-ID")
    return int(said)


CALLS = (
    Call(
        "GET",
        "/control/events",
        events,
        {HTTPStatus.OK: Media("text/event-stream", "Events, without end.")},
        query=WhichEvents,
        headers={"Last-Event-ID": "The id of the last event seen: those after it come first."},
    ),
)
