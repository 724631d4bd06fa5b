"""The manifest survives a round trip byte for byte, and nothing else is taken for one."""

from __future__ import annotations

import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifests import (
    directory_entry,
    fifo_entry,
    file_entry,
    free_name,
    manifest,
    metadata,
    node_entry,
    port_entry,
    socket_entry,
    symlink_entry,
)
from pydantic import ValidationError

from llmux.criu_images._paths import RawPath
from llmux.criu_images.errors import ManifestInvalid, ManifestVersion
from llmux.criu_images.manifest import (
    DirectoryEntry,
    FreeKind,
    ImageEntry,
    Metadata,
    Origin,
    Xattr,
    fingerprint_of,
    parse_manifest,
    seal_of,
)

FULL = manifest(
    ids=(1000, 1002),
    directories=(directory_entry("/a"),),
    files=(file_entry("/a/x", "/a/y"),),
    fifos=(fifo_entry("/f"),),
    symlinks=(symlink_entry("/l"),),
    nodes=(node_entry("/dev/null"),),
    free_names=(free_name("/s", FreeKind.SOCKET),),
    sockets=(socket_entry(b"\0abstract\xff"),),
    ports=(port_entry("::", 80, family=10),),
    images=(ImageEntry(name="core-1.img", size=3, digest="sha256:" + "00" * 32),),
    warnings=("careful",),
)

components = st.binary(min_size=1, max_size=8).filter(
    lambda name: name not in {b".", b".."} and b"/" not in name and b"\0" not in name
)
paths = st.lists(components, min_size=1, max_size=4).map(lambda parts: RawPath(b"/" + b"/".join(parts)))
xattrs = st.builds(
    lambda name, value: Xattr(name=RawPath(name), value=RawPath(value)), st.binary(), st.binary()
)


def test_round_trip():
    assert parse_manifest(FULL.to_json(), b"m") == FULL
    assert FULL.max_id == 1002


@given(paths, st.lists(xattrs, max_size=3))
def test_any_bytes_round_trip(path, attributes):
    dressed = Metadata(mode=stat.S_IFDIR, uid=0, gid=0, mtime_ns=-1, atime_ns=0, xattrs=tuple(attributes))
    entry = DirectoryEntry(path=path, origin=Origin.IMAGE, reason="", metadata=dressed)
    made = manifest(directories=(entry,))
    assert parse_manifest(made.to_json(), b"m") == made


@pytest.mark.parametrize("path", ["a", "", "/a/../b", "/a/./b", "//a", "/a/", "/a\\x00b", "/..", "/\\q"])
def test_a_path_that_a_walk_would_not_take_literally_is_refused(path):
    raw = json.loads(FULL.to_json())
    raw["directories"][0]["path"] = path
    with pytest.raises(ManifestInvalid, match="directories"):
        parse_manifest(json.dumps(raw).encode(), b"m")


def test_an_edit_breaks_the_seal():
    edited = FULL.to_json().replace(b'"uid": 0', b'"uid": 1', 1)
    with pytest.raises(ManifestInvalid, match="seal"):
        parse_manifest(edited, b"m")


def test_another_version_is_named():
    raw = json.loads(FULL.to_json()) | {"version": 2, "novelty": True}
    with pytest.raises(ManifestVersion, match="version 2"):
        parse_manifest(json.dumps(raw).encode(), b"m")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b"\xff", b"null", b"[" * 100_000, FULL.to_json()[:-100]]
)
def test_what_is_no_manifest(data):
    with pytest.raises(ManifestInvalid):
        parse_manifest(data, b"m")


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("files", "carried", "../../etc/passwd"),
        ("files", "carried", "1\n"),
        ("files", "digest", "md5:00"),
        ("files", "names", []),
        ("files", "size", -1),
        ("files", "size", "100"),
        ("files", "extra", 1),
        ("images", "name", "../x.img"),
    ],
)
def test_a_wrong_field_is_named(section, field, value):
    raw = json.loads(FULL.to_json())
    raw[section][0][field] = value
    with pytest.raises(ManifestInvalid, match=rf"{section}\.0\.{field}"):
        parse_manifest(json.dumps(raw).encode(), b"m")


def test_it_is_frozen():
    with pytest.raises(ValidationError):
        FULL.warnings = ()


def test_the_fingerprint_tells_images_apart():
    image = FULL.images[0]
    assert fingerprint_of((image,)) != fingerprint_of((image.model_copy(update={"size": 4}),))


def test_metadata_helper_is_a_full_mode():
    assert stat.S_ISDIR(metadata(stat.S_IFDIR).mode)


def test_a_field_that_a_later_release_added_with_a_default_does_not_break_the_seal() -> None:
    content = json.loads(FULL.to_json())
    del content["warnings"]
    content["seal"] = seal_of(content)
    assert parse_manifest(json.dumps(content).encode(), b"m").warnings == ()
