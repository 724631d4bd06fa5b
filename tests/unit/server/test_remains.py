"""The sockets of an engine whose dump nobody published: names that nobody has are removed, and no others."""

from __future__ import annotations

import socket
from contextlib import closing
from datetime import UTC, datetime

import pytest

from llmux.criu_images.manifest import MANIFEST_NAME, Host, Manifest, SocketEntry
from llmux.server._checkpoints import CheckpointStore
from llmux.server._remains import remove_sockets

HOST = Host(
    name="h", kernel="6.18", machine="x86_64", cpu_model="m", cpu_features=(), criu="4.2.1", llmux="0.1.0"
)


def bound(path, kind=socket.SOCK_STREAM):
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(str(path))
    return made


def dead(path):
    bound(path).close()
    return path


def write(directory, *paths, external=False):
    sockets = tuple(
        SocketEntry(
            inode=number,
            type="STREAM",
            state="LISTEN",
            name=str(path).encode(),
            bind_path=str(path).encode(),
            abstract=False,
            external=external,
            peer=None,
            peer_name=None,
            pids=(1000,),
        )
        for number, path in enumerate(paths, start=1)
    )
    manifest = Manifest(
        created_at=datetime.now(UTC),
        root_task=1000,
        ids=(1000,),
        container_started_ns=1,
        container_started_by="test",
        host=HOST,
        directories=(),
        files=(),
        sockets=sockets,
        images=(),
        fingerprint="f",
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST_NAME).write_bytes(manifest.sealed().to_json())


@pytest.fixture
def images(tmp_path):
    return tmp_path / "images"


def test_names_that_nobody_has_are_removed(tmp_path, images):
    one, two = dead(tmp_path / "one"), dead(tmp_path / "two")
    write(images, one, tmp_path / "gone", two)
    assert remove_sockets(images) == (one, two)
    assert not one.exists()
    assert not two.exists()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
@pytest.mark.parametrize("listens", [True, False])
def test_names_that_somebody_has_stay(tmp_path, images, kind, listens):
    path = tmp_path / "socket"
    write(images, path)
    with closing(bound(path, kind)) as somebodys:
        if listens and kind != socket.SOCK_DGRAM:
            somebodys.listen()
        assert remove_sockets(images) == ()
        assert path.exists()


def test_one_that_somebody_has_under_another_spelling_of_its_name_stays(tmp_path, images, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(images, tmp_path / "socket")
    with closing(bound("socket")) as somebodys:
        somebodys.listen()
        assert remove_sockets(images) == ()
        assert (tmp_path / "socket").exists()


def test_what_is_no_socket_stays(tmp_path, images):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(dead(tmp_path / "socket"))
    write(images, tmp_path / "file", tmp_path / "link", tmp_path)
    assert remove_sockets(images) == ()
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "socket").exists()


def test_a_link_on_the_way_is_not_followed(tmp_path, images):
    (tmp_path / "theirs").mkdir()
    path = dead(tmp_path / "theirs" / "socket")
    (tmp_path / "link").symlink_to("theirs")
    write(images, tmp_path / "link" / "socket")
    assert remove_sockets(images) == ()
    assert path.exists()


def test_a_peer_outside_the_dump_is_not_the_engines(tmp_path, images):
    path = dead(tmp_path / "log")
    write(images, path, external=True)
    assert remove_sockets(images) == ()
    assert path.exists()


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_a_dump_without_a_manifest_names_none(images, text):
    images.mkdir()
    if text is not None:
        (images / MANIFEST_NAME).write_text(text)
    assert remove_sockets(images) == ()


def test_the_store_does_so_before_it_discards_a_dump_that_nobody_published(tmp_path):
    store = CheckpointStore(tmp_path / "store")
    generation = store.begin("m")
    path = dead(tmp_path / "socket")
    write(generation.directory, path)
    assert store.recover("m") == ()  # it is still being made
    assert path.exists()
    generation.lock.close()
    assert store.recover("m") == (
        f"removed {path}, left by an engine of .generation-1",
        "removed the left-over .generation-1",
    )
    assert not path.exists()
