from __future__ import annotations

import pytest

from llmux.criu_images._inventory import PathKind, PathReference
from llmux.criu_images._paths import RawPath
from llmux.criu_images._sections import Section, sections_of


@pytest.mark.parametrize(
    ("path", "kind", "sections"),
    [
        (b"/a", PathKind.REGULAR, {Section.FILE}),
        (b"/dev/shm/a", PathKind.REGULAR, {Section.SHM}),
        (b"/dev/shm/a", PathKind.GHOST_NAME, {Section.REMAP, Section.SHM}),
        (b"/dev/shm/a", PathKind.SOCKET, {Section.UNIX}),
        (b"/a", PathKind.LINK_REMAP, {Section.REMAP}),
    ],
)
def test_where_a_path_belongs(path, kind, sections):
    assert sections_of(PathReference(RawPath(path), kind, ())) == sections
