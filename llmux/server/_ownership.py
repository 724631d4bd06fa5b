"""Whose the objects are that engines keep: where keys are configured, each key reaches what was made with it, and no more. Pure.

Engines know nothing of keys: whoever names an object is given it. So what is not known to be a key's own is not asked for
with it, be it another's, forgotten, or never made: nobody learns which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct

from llmux.server import _homes
from llmux.server._homes import Home, Homes, Item
from llmux.server.errors import UnknownItem

_HINT = "A key reaches what was made with it and is still known. Make it anew, or ask with an admin's key"


class Owner(Struct, frozen=True):
    """Who asks for objects, or makes them."""

    name: str = ""
    bound: bool = False
    """They reach nothing but their own."""

    def reaches(self, home: Home | None) -> bool:
        """Say whether they may have an object that is kept there; None: nobody knows of it."""
        return not self.bound or (home is not None and home.owner == self.name)


NOBODY = Owner()


def check(
    homes: Homes, by: Owner, item: Item | None, fields: Mapping[str, object] | None, body: bytes
) -> None:
    """Refuse a request for, or with, an object that is not the asker's. `fields` are the body's, where it was read. Raises UnknownItem."""
    if not by.bound:
        return
    said = _said(body) if fields is None else fields
    for each in (*([item] if item else ()), *_homes.named_within(said)):
        if not by.reaches(homes.find(each)):
            raise UnknownItem(str(each), hint=_HINT)
    for each in _homes.may_become(said):
        home = homes.find(each)
        if home is not None and not by.reaches(home):
            raise UnknownItem(str(each), hint=_HINT)


def _said(body: bytes) -> Mapping[str, object]:
    """Return what a body says whose type says that it is no JSON: there are engines that do not look at that."""
    try:
        said = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
