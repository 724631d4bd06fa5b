"""From a client's request to what an engine is asked: which model it is for, and what is written into it. Pure.

Where the client's name of the model is the engine's, and nothing is configured to be added or capped, both the request and
its answer stay as they are, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus

from msgspec import Struct

from llmux.server import _apis, _edits, _homes, _names, _ownership, _routing
from llmux.server._answers import ObjectSeen, OnlySome, RenamedEvents, RenamedJson, Stage, WholeEvents
from llmux.server._homes import Home, Homes, Item
from llmux.server._names import Target
from llmux.server._ownership import Owner
from llmux.server._record import Model
from llmux.server._routing import Said
from llmux.server.errors import RequestInvalid, UnknownItem, UnknownModel

_EVENTS = "text/event-stream"
_JSON = "application/json"


class Call(Struct, frozen=True):
    """What a client asks."""

    method: str
    path: str
    """Decoded."""
    target: str
    """The path and query, as they are written."""
    model: str | None
    """The model in the query."""
    content_type: str
    body: bytes
    said: Said
    by: Owner = _ownership.NOBODY
    """Who asks, as far as what engines keep is concerned."""


class Addressee(Struct, frozen=True):
    """Whom a request is for."""

    target: Target
    replica: str | None = None
    """The one that keeps what the request is about."""
    named: bool = True
    """The request itself says so."""


class Errand(Struct, frozen=True):
    """What an engine is asked for a client."""

    target: str
    """The path and query, as they are written."""
    body: bytes
    whole: bool
    """The answer is looked into, so that it must not come packed."""
    stages: Callable[[str, int, str], tuple[Stage, ...]]
    """What is made of an answer of this replica, with this status and content type."""


def read(path: str, content_type: str, body: bytes, *, named_in_query: bool) -> Said:
    """Return what a body says. Raises RequestInvalid.

    One of any kind may go with a model in the query, but no form that cannot be read: an engine may read another model in it.
    Where a model writes, it is JSON whatever its type, as there are engines that do not look at that: nobody gets around a
    cap so.
    """
    if not body:
        return Said()
    if _apis.generates(path):
        return _routing.read_json(body)
    try:
        return _routing.read(content_type, body)
    except RequestInvalid as error:
        if named_in_query and error.param is None and not _routing.is_form(content_type):
            return Said()
        raise


def addressee(models: Mapping[str, Model], homes: Homes, call: Call) -> Addressee:
    """Find whom a request is for. Raises RequestInvalid, UnknownModel and UnknownItem."""
    if None not in (call.said.model, call.model) and call.said.model != call.model:
        raise RequestInvalid(
            "the body and the query name different models", "model"
        )  # engines differ in which they take
    item = _homes.item_of(call.path)
    _ownership.check(homes, call.by, item, call.said.fields, call.body)
    home = homes.find(item) if item else None
    name = call.said.model or call.model or _apis.model_in(call.path)
    if name is None and home is not None:
        return Addressee(_names.target_of(models, home.asked), home.replica, named=False)
    named = name is not None
    target = _names.target_of(models, name or _unnamed(models, call, item))
    kept = _kept_by(models, homes, call, target)
    if home is None or not _is_of(models, home, target):
        home = kept
    return Addressee(target, home.replica if home else None, named)


def errand(call: Call, to: Addressee, homes: Homes) -> Errand:
    """Return what the engine is asked."""
    target, rules = to.target, to.target.model.rules
    generates = _apis.generates(call.path)
    shown = target.asked if target.asked != target.served else None
    removes = _homes.removed_by(call.path) if call.method == "DELETE" else None
    lists = _homes.listed_by(call.path) if call.by.bound and call.method == "GET" else None
    tells = _makes(call) is not None or _homes.tells_of_files(_homes.item_of(call.path))

    def stages(replica: str, status: int, content_type: str) -> tuple[Stage, ...]:
        if removes and status < HTTPStatus.BAD_REQUEST:
            homes.forget(removes)
        events = content_type == _EVENTS
        chosen: list[Stage] = []
        if tells and status < HTTPStatus.BAD_REQUEST:
            chosen.append(ObjectSeen(partial(_note, call, homes, Home(target.asked, replica)), events=events))
        if lists and status < HTTPStatus.BAD_REQUEST:
            chosen.append(OnlySome(lambda id_: call.by.reaches(homes.find(Item(lists, id_)))))
        if events:
            chosen.append(RenamedEvents(target.served, shown) if shown else WholeEvents())
        elif shown and content_type == _JSON:
            chosen.append(RenamedJson(target.served, shown))
        return tuple(chosen)

    defaults, cap = (rules.defaults, rules.max_tokens) if generates else ({}, None)
    body = call.body
    if call.said.fields is not None and _is_written(call, to, defaults, cap):
        limits = _edits.limits_of(call.path, rules.engine)
        body = _edits.packed(_edits.edited(call.said.fields, target.served, defaults, cap, limits))
    elif call.said.model is not None and shown:
        body = _edits.form(call.content_type, call.body, target.served)
    asked = _edits.query(call.target, target.served) if call.model is not None and shown else call.target
    return Errand(asked, body, bool(tells or lists or shown), stages)


def _note(call: Call, homes: Homes, home: Home, told: Mapping[str, object]) -> None:
    """Remember the objects that an answer tells of: what was made of one belongs to whom that belongs to."""
    item, makes = _homes.item_of(call.path), _makes(call)
    kept = homes.find(item) if item else None
    owner = kept.owner if kept else call.by.name
    if makes:
        found = _homes.made(makes, told)
    else:
        found = _homes.files_of(item.collection, told) if item else iter(())
    for each in found:
        homes.note(each, replace(home, owner=owner))


def _makes(call: Call) -> str | None:
    """Return the collection that a request adds an object to."""
    return _homes.collection_of(call.path) if call.method == "POST" else None


def _is_written(call: Call, to: Addressee, defaults: Mapping[str, object], cap: int | None) -> bool:
    """Say whether the body in JSON has to be another one."""
    if call.said.model is not None:
        named_right = call.said.model == to.target.served
    else:
        named_right = to.named or _homes.item_of(call.path) is not None
    return not named_right or bool(defaults) or cap is not None


def _unnamed(models: Mapping[str, Model], call: Call, item: Item | None) -> str:
    """Return the model of a request that names none."""
    if default := _names.default_of(models):
        return default
    only = next(iter(models)) if len(models) == 1 else None
    if only and (item or call.method in {"GET", "HEAD", "DELETE", "OPTIONS"}):
        return only
    if item:
        raise UnknownItem(str(item), hint="Ask with ?model=NAME, or make it anew")
    hint = 'Send a JSON body with "model", or ?model=NAME; GET /v1/models lists the names'
    raise RequestInvalid("the request names no model", "model", hint=hint)


def _kept_by(models: Mapping[str, Model], homes: Homes, call: Call, target: Target) -> Home | None:
    """Return who keeps what the request refers to. Raises RequestInvalid where that is another model."""
    for field, item in _homes.references(call.said.fields or {}) if homes else ():
        home = homes.find(item)
        if home is None:
            continue
        if not _is_of(models, home, target):
            reason = f"{item} was made by the model {home.asked!r}, whose engine keeps it"
            raise RequestInvalid(reason, field, hint=f"Ask {home.asked!r}, or leave {field} out")
        return home
    return None


def _is_of(models: Mapping[str, Model], home: Home, target: Target) -> bool:
    try:
        return _names.target_of(models, home.asked).model is target.model
    except UnknownModel:
        return False
