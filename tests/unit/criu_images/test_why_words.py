from __future__ import annotations

import pytest

from llmux.criu_images._inventory import PathKind, PathReference
from llmux.criu_images._paths import RawPath
from llmux.criu_images._why_words import at_restore

PATH = RawPath(b"/a/b")


@pytest.mark.parametrize("kind", PathKind)
def test_each_kind_has_its_words_and_every_place_in_them_is_filled(kind):
    said = at_restore(kind, PATH, PathReference(PATH, kind, (), 9, 0o100644, b"\xab"))
    assert said.does
    assert "{}" not in "".join((said.does, *said.says))


@pytest.mark.demand("messages")
def test_what_is_compared_is_said_with_criu_s_messages():
    said = at_restore(PathKind.REGULAR, PATH, PathReference(PATH, PathKind.REGULAR, (), 1, 0o100644, b"\xab"))
    assert said.does == (
        "CRIU opens it by name, and compares its size (1 byte) and its mode (-rw-r--r--) and its build-id (ab)"
    )
    assert said.says[1:] == (
        "File a/b has bad size N (expect 1)",
        "File a/b has bad mode N (expect 0100644)",
        "File a/b has bad build-ID",
    )


def test_the_root_is_a_full_stop_to_criu():
    assert at_restore(PathKind.DIRECTORY, RawPath(b"/")).says == (
        "Can't open file . on restore: No such file or directory",
    )
