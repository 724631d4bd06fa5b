"""Where the objects are that engines keep (responses, files, batches): on the replica that made them. Pure.

They are known by the ids in engines' answers, as many as `most`; of those beyond, the one that was asked for least recently
is forgotten. A restart of llmux forgets them all, and then a client has to name the model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from llmux.server._apis import PATHS_REMEMBERED

_COLLECTIONS = frozenset(
    {
        "batches",
        "containers",
        "conversations",
        "files",
        "responses",
        "uploads",
        "vector_stores",
        "videos",
    }
)
_REFERENCES = {
    "previous_response_id": "responses",
    "conversation": "conversations",
    "input_file_id": "files",
}
"""The fields of a request that name an object."""
_LONGEST_ID = 256


@dataclass(frozen=True)
class Home:
    """Who keeps an object."""

    asked: str
    """The name of the model that it was made by, as its client knows it."""
    replica: str


@dataclass(frozen=True)
class Item:
    """An object of a collection."""

    collection: str
    id: str

    def __str__(self) -> str:
        return f"{self.collection}/{self.id}"


class Homes:
    """The objects that are known."""

    def __init__(self, most: int = 1 << 16) -> None:
        self._homes: OrderedDict[Item, Home] = OrderedDict()
        self._most = most

    def note(self, item: Item, home: Home) -> None:
        """Remember a new object. What is known stays: an id that comes again was not made by who had it first."""
        if len(item.id) > _LONGEST_ID or item in self._homes:
            return
        self._homes[item] = home
        if len(self._homes) > self._most:
            self._homes.popitem(last=False)

    def find(self, item: Item) -> Home | None:
        """Return who keeps it, where that is known."""
        if item in self._homes:
            self._homes.move_to_end(item)
        return self._homes.get(item)

    def forget(self, item: Item) -> None:
        """Forget one that was deleted."""
        self._homes.pop(item, None)


@lru_cache(PATHS_REMEMBERED)
def collection_of(path: str) -> str | None:
    """Return the collection that a POST to this path adds to."""
    match _parts(path):
        case ["v1", name] if name in _COLLECTIONS:
            return name
        case _:
            return None


@lru_cache(PATHS_REMEMBERED)
def item_of(path: str) -> Item | None:
    """Return the object that this path is of, or of a part of."""
    match _parts(path):
        case ["v1", name, id_, *_] if name in _COLLECTIONS:
            return Item(name, id_)
        case _:
            return None


def removed_by(path: str) -> Item | None:
    """Return the object that a DELETE of this path removes."""
    return item_of(path) if len(_parts(path)) == 3 else None


def references(fields: Mapping[str, object]) -> Iterator[tuple[str, Item]]:
    """Yield the objects that a request names, each with its field."""
    for field, collection in _REFERENCES.items():
        value = fields.get(field)
        named = value.get("id") if isinstance(value, dict) else value
        if isinstance(named, str):
            yield field, Item(collection, named)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
