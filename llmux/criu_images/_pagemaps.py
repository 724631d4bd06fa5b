"""Where the memory pages of a dump are, counted by the flags of its pagemaps; the pages themselves are not read."""

from __future__ import annotations

import re
from collections import Counter

from llmux.criu_images._entry import Entry
from llmux.criu_images._formats import PAGEMAP
from llmux.criu_images._source import Images

# criu/include/pagemap.h
_PARENT, _LAZY, _PRESENT = 1, 2, 4
_NAME = re.compile(r"pagemap-(shmem-)?[0-9]{1,20}\.img")


def count_pages(images: Images) -> dict[str, int]:
    """Count the pages that are `present` in this dump, in its `parent`, or to be sent later (`lazy`), and those of `none` of these."""
    counts = Counter(dict.fromkeys(("present", "parent", "lazy", "none"), 0))
    for name in images.source.names():
        if _NAME.fullmatch(name):
            for entry in images.maybe(name, PAGEMAP):
                if entry.index:  # The first is the pagemap's head.
                    counts[_place(entry)] += _pages(entry)
    return dict(counts)


def _pages(entry: Entry) -> int:
    pages = entry.maybe_number("nr_pages")
    return entry.number("compat_nr_pages") if pages is None else pages


def _place(entry: Entry) -> str:
    flags = entry.maybe_number("flags")
    if flags is None:  # As `init_compat_pagemap_entry` reads what older releases wrote.
        flags = _PARENT if entry.flag("in_parent") else _PRESENT
    if flags & _PRESENT:
        return "present"
    if flags & _PARENT:
        return "parent"
    return "lazy" if flags & _LAZY else "none"
