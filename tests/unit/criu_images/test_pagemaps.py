from __future__ import annotations

from contextlib import closing

from llmux.criu_images._pagemaps import count_pages
from llmux.criu_images._source import DirectorySource, Images


def counted_in(directory):
    with closing(DirectorySource(str(directory))) as source:
        return count_pages(Images(source))


def pagemap(maker, name, *entries):
    """Write a head and then entries, which are another message."""
    path = maker.image(name, "PAGEMAP", "pagemap_head", {"pages_id": 1})
    head = path.read_bytes()
    words = 8  # the two magic numbers, which the entries' own image starts with too
    path.write_bytes(head + maker.image(name, "PAGEMAP", "pagemap_entry", *entries).read_bytes()[words:])


def test_pages_are_counted_by_where_they_are(maker):
    pages = {"vaddr": 0, "compat_nr_pages": 0}
    pagemap(
        maker,
        "pagemap-7.img",
        pages | {"nr_pages": 3, "flags": 4},
        pages | {"nr_pages": 5, "flags": 1},
        pages | {"nr_pages": 7, "flags": 2},
        pages | {"nr_pages": 2, "flags": 6},
        pages | {"nr_pages": 11, "flags": 0},
    )
    assert counted_in(maker.directory) == {"present": 5, "parent": 5, "lazy": 7, "none": 11}


def test_pagemaps_of_older_releases(maker):
    pagemap(
        maker,
        "pagemap-shmem-3.img",
        {"vaddr": 0, "compat_nr_pages": 3},
        {"vaddr": 0, "compat_nr_pages": 4, "in_parent": True},
    )
    assert counted_in(maker.directory) == {"present": 3, "parent": 4, "lazy": 0, "none": 0}


def test_a_dump_without_pagemaps_has_no_pages(maker):
    assert sum(counted_in(maker.directory).values()) == 0
