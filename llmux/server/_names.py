"""The names that clients ask for: models, their aliases and their adapters; whom each stands for, and what its engine calls it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from llmux.server._model import Draining, Running, Starting, Waking, name_of
from llmux.server._record import Model, Replica
from llmux.server._routing import Card
from llmux.server.errors import UnknownModel

_FOREMOST = (Running, Draining, Waking, Starting)


class Target(Struct, frozen=True, eq=False):
    """Whom a request is for."""

    asked: str
    """The name that the client knows it by."""
    model: Model
    served: str
    """The name that the engine knows it by: the model's, or an adapter's."""


def cards(models: Iterable[Model]) -> Iterator[Card]:
    """Yield every name that clients may ask for, each model's aliases and adapters after it."""
    for model in models:
        state = name_of(_foremost(model).state)
        yield Card(model.name, model.name, state=state)
        yield from (Card(alias, model.name, state=state) for alias in model.rules.aliases)
        yield from (Card(name, path, model.name, state) for name, path in model.rules.adapters.items())


def card_of(models: Mapping[str, Model], name: str) -> Card:
    """Return what /v1/models/NAME says. Raises UnknownModel."""
    for card in cards(models.values()):
        if card.name == name:
            return card
    raise _unknown(models, name)


def target_of(models: Mapping[str, Model], name: str) -> Target:
    """Return whom a name stands for. Raises UnknownModel."""
    if name in models:
        return _served(name, models[name])
    for model in models.values():
        if name in model.rules.adapters:
            return Target(name, model, name)
        if name in model.rules.aliases:
            return _served(name, model)
    raise _unknown(models, name)


def default_of(models: Mapping[str, Model]) -> str | None:
    """Return the model of requests that name none, where one is configured."""
    return next((name for name, model in models.items() if model.rules.is_default), None)


def _served(name: str, model: Model) -> Target:
    return Target(name, model, model.rules.served_name or model.name)


def _foremost(model: Model) -> Replica:
    """Return the replica that serves, or is the nearest to it."""
    ranks = {kind: rank for rank, kind in enumerate(_FOREMOST)}
    return min(model.replicas, key=lambda each: ranks.get(type(each.state), len(ranks)))


def _unknown(models: Mapping[str, Model], name: str) -> UnknownModel:
    known = tuple(card.name for card in cards(models.values()))
    return UnknownModel(name, known, hint="GET /v1/models lists the names")
