from __future__ import annotations

import pytest

from llmux.criu_images._why_ours import treatments
from llmux.criu_images.manifest import FreeKind, Origin

from .manifests import (
    directory_entry,
    fifo_entry,
    file_entry,
    free_name,
    manifest,
    node_entry,
    raw,
    socket_entry,
    symlink_entry,
)

WHOLE = manifest(
    files=(
        file_entry("/log", demanded_size=None, written=True),
        file_entry("/lib", carried=None, origin=Origin.IMAGE, build_id="ab"),
        file_entry("/shm/link_remap.1", "/shm/sem.x", consumed=(raw("/shm/link_remap.1"),)),
    ),
    directories=(directory_entry("/dir"),),
    fifos=(fifo_entry("/fifo"),),
    symlinks=(symlink_entry("/link"),),
    nodes=(node_entry("/dev/x"),),
    free_names=(free_name("/sock", FreeKind.SOCKET), free_name("/gone", FreeKind.GHOST_NAME, 1)),
    sockets=(socket_entry(b"/peer", external=True),),
)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "/log",
            ["carried as llmux/0 (100 bytes; born later)", "else compared: mode", "the tree writes to it"],
        ),
        ("/lib", ["not carried: it is of the image", "size, mode, build-id, content"]),
        ("/shm/sem.x", ["one file with /shm/link_remap.1"]),
        ("/shm/link_remap.1", ["which uses it up", "one file with /shm/sem.x"]),
        ("/dir", ["a directory, made"]),
        ("/fifo", ["a FIFO, made"]),
        ("/link", ["a symbolic link on the way"]),
        ("/dev/x", ["never made: this node must be here"]),
        ("/sock", ["never made: CRIU binds its socket here"]),
        ("/gone", ["never made: CRIU makes this name itself"]),
        ("/peer", ["a socket of another program", "holds the name"]),
    ],
)
def test_what_is_done_with_each_kind(path, said):
    text = " / ".join(treatments(WHOLE, raw(path)))
    assert [part for part in said if part not in text] == []


def test_a_link_remap_s_partner_is_not_used_up():
    assert "uses it up" not in " ".join(treatments(WHOLE, raw("/shm/sem.x")))


def test_what_the_manifest_does_not_name_is_left_alone():
    assert treatments(WHOLE, raw("/other")) == ()
