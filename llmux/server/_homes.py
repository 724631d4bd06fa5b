"""Where the objects are that engines keep (responses, files, batches): on the replica that made them. Pure.

They are known by the ids in engines' answers, as many as `most`; where there are more, whoever has made the most of them loses
the one that was asked for least recently, so that nobody can have another's forgotten. `_homes_file.py` keeps them over a
restart of llmux. Where one is not known, a client has to name the model.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
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
_NAMED_WITHIN = {
    "file_id": "files",
    "file_ids": "files",
    "vector_store_id": "vector_stores",
    "vector_store_ids": "vector_stores",
}
"""The same, wherever they are in it: a file among what a message says, a store that a tool looks into."""
_NO_REFERENCES = frozenset({"attributes", "filters", "metadata", "parameters", "schema"})
"""The fields below which a client says what it likes."""
_BECOME = {"request_id": "responses", "container": "containers"}
"""The fields that may name an object that there is, and need not: vLLM gives a response the id that its request says."""
_NO_ITEMS = frozenset({("responses", "compact"), ("responses", "input_tokens")})
"""Calls beside the objects of a collection."""
_MADE_ELSEWHERE = {"batches": ("output_file_id", "error_file_id"), "uploads": ("file",)}
"""The fields of an object in which its engine tells of files that it has made of it."""
_LONGEST_ID = 256
_LONGEST_NAME = 512


@dataclass(frozen=True)
class Home:
    """Who keeps an object."""

    asked: str
    """The name of the model that it was made by, as its client knows it."""
    replica: str
    owner: str = ""
    """Who made it, as `Caller.owner` has it."""


@dataclass(frozen=True)
class Item:
    """An object of a collection."""

    collection: str
    id: str

    def __str__(self) -> str:
        return f"{self.collection}/{self.id}"


def as_data(item: Item, home: Home | None) -> dict[str, object]:
    """Return what `from_data` makes the same of. None: the object is forgotten."""
    if home is None:
        return {"gone": str(item)}
    return {"object": str(item), "model": home.asked, "replica": home.replica, "owner": home.owner}


def from_data(data: object) -> tuple[Item, Home | None]:
    """Return an object and who keeps it. Raises ValueError."""
    home: Home | None
    match data:
        case {"object": str(name), "model": str(asked), "replica": str(replica), "owner": str(owner), **rest}:
            home = Home(asked, replica, owner)
        case {"gone": str(name), **rest}:
            asked, replica, owner, home = "", "", "", None
        case _:
            raise ValueError("it has not the fields of an object")
    if rest:
        raise ValueError("it has other fields than those of an object")
    collection, _, id_ = name.partition("/")
    if collection not in _COLLECTIONS or not 0 < len(id_) <= _LONGEST_ID:
        raise ValueError("it names no object that an engine keeps")
    if max(map(len, (asked, replica, owner))) > _LONGEST_NAME:
        raise ValueError("a name in it is too long")
    return Item(collection, id_), home


Changed = Callable[[Item, Home | None], None]
"""What is told of each object that is new, and of each that is forgotten."""


class Homes:
    """The objects that are known."""

    def __init__(self, most: int = 1 << 16) -> None:
        self._homes: dict[Item, Home] = {}
        self._changed: Changed | None = None
        self._by_owner: defaultdict[str, OrderedDict[Item, None]] = defaultdict(OrderedDict)
        self._most = most

    def note(self, item: Item, home: Home) -> None:
        """Remember a new object. What is known stays: an id that comes again was not made by who had it first."""
        if not 0 < len(item.id) <= _LONGEST_ID or item in self._homes:
            return
        self._homes[item] = home
        self._by_owner[home.owner][item] = None
        if self._changed:
            self._changed(item, home)
        if len(self._homes) > self._most:
            most = max(self._by_owner.values(), key=len)
            self.forget(next(iter(most)))

    def find(self, item: Item) -> Home | None:
        """Return who keeps it, where that is known."""
        home = self._homes.get(item)
        if home is not None:
            self._by_owner[home.owner].move_to_end(item)
        return home

    def forget(self, item: Item) -> None:
        """Forget one that was deleted."""
        home = self._homes.pop(item, None)
        if home is not None:
            of_owner = self._by_owner[home.owner]
            del of_owner[item]
            if not of_owner:
                del self._by_owner[home.owner]
            if self._changed:
                self._changed(item, None)

    def watch(self, changed: Changed) -> None:
        """Have every further change told."""
        self._changed = changed

    def __len__(self) -> int:
        return len(self._homes)

    def __iter__(self) -> Iterator[tuple[Item, Home]]:
        return iter(self._homes.items())


@lru_cache(PATHS_REMEMBERED)
def collection_of(path: str) -> str | None:
    """Return the collection that a POST to this path adds to."""
    match _parts(path):
        case ["v1", name] if name in _COLLECTIONS:
            return name
        case ["v1", "videos", _, "remix"]:
            return "videos"
        case _:
            return None


@lru_cache(PATHS_REMEMBERED)
def listed_by(path: str) -> str | None:
    """Return the collection whose objects a GET of this path lists."""
    match _parts(path):
        case ["v1", name] if name in _COLLECTIONS:
            return name
        case _:
            return None


@lru_cache(PATHS_REMEMBERED)
def item_of(path: str) -> Item | None:
    """Return the object that this path is of, or of a part of."""
    match _parts(path):
        case ["v1", name, id_, *_] if name in _COLLECTIONS and (name, id_) not in _NO_ITEMS:
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


def named_within(fields: Mapping[str, object]) -> Iterator[Item]:
    """Yield the objects that a request names, wherever in it, and that have to be there."""
    yield from (item for _, item in references(fields))
    yield from _within(fields)


def may_become(fields: Mapping[str, object]) -> Iterator[Item]:
    """Yield the objects that a request may name, be they there or not."""
    for field, collection in _BECOME.items():
        if isinstance(value := fields.get(field), str):
            yield Item(collection, value)


def made(collection: str, told: Mapping[str, object]) -> Iterator[Item]:
    """Yield the objects that an answer tells of that is one of this collection: itself, and files that its engine has made of it."""
    if isinstance(id_ := told.get("id"), str):
        yield Item(collection, id_)
    yield from files_of(collection, told)


def tells_of_files(item: Item | None) -> bool:
    """Say whether what an engine tells of an object may name files that it has made of it."""
    return item is not None and item.collection in _MADE_ELSEWHERE


def files_of(collection: str, told: Mapping[str, object]) -> Iterator[Item]:
    """Yield the files that an object's engine has made of it."""
    for field in _MADE_ELSEWHERE.get(collection, ()):
        value = told.get(field)
        named = value.get("id") if isinstance(value, dict) else value
        if isinstance(named, str):
            yield Item("files", named)


def _within(value: object) -> Iterator[Item]:
    waiting = [value]
    while waiting:  # and no recursion: a client chooses how deep its request is
        match waiting.pop():
            case dict() as fields:
                waiting += [each for name, each in fields.items() if name not in _NO_REFERENCES]
                for name, collection in _NAMED_WITHIN.items():
                    named = fields.get(name)
                    every = named if isinstance(named, list) else [named]
                    yield from (Item(collection, each) for each in every if isinstance(each, str))
            case list() as values:
                waiting += values
            case _:
                pass


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
