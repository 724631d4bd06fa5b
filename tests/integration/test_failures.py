"""What can't be done is refused with its name; the model serves on or is started cold, and no checkpoint is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proof.bench import CHECKPOINTS, ENGINE_PORT, MODEL, Bench, Node, Settings
from proof.client import Document, RefusedError
from proof.containers import Memory, Mount
from proof.story import Sleeper, check_cold_start, check_restored, put_to_sleep, wake_and_check

pytestmark = pytest.mark.docker

SETTINGS = Settings()
DUMPED_ANEW = Settings(checkpoint={"reuse": False})
IMAGES = f"{CHECKPOINTS}/{MODEL}/images"
PYTHON = "/opt/llmux/bin/python"


# ---- a dump that fails ----


def test_a_full_volume_leaves_the_model_serving_and_the_old_checkpoint_whole(desk: Bench) -> None:
    with desk.node("a", DUMPED_ANEW, mounts=(Memory(CHECKPOINTS, 512 << 20),)) as a:
        sleeper = put_to_sleep(a)
        wake_and_check(a, sleeper)
        old = a.llmux.status(MODEL)["checkpoint"]
        a.container.attempt("dd", "if=/dev/zero", f"of={CHECKPOINTS}/filler", "bs=1M")
        with pytest.raises(RefusedError, match=r"(?i)no space left"):
            a.llmux.sleep(MODEL)
        check_it_cost_nothing(a, sleeper, old)
        a.container.exec("rm", f"{CHECKPOINTS}/filler")
        a.llmux.sleep(MODEL)
        wake_and_check(a, sleeper)


def test_a_tree_that_criu_refuses_leaves_the_model_serving_and_the_old_checkpoint_whole(desk: Bench) -> None:
    with desk.node("a", DUMPED_ANEW) as a:
        sleeper = put_to_sleep(a)
        wake_and_check(a, sleeper)
        old = a.llmux.status(MODEL)["checkpoint"]
        with connected_to_an_engines_socket(a), pytest.raises(RefusedError, match=r"(?i)unix"):
            a.llmux.sleep(MODEL)
        check_it_cost_nothing(a, sleeper, old)
        a.llmux.sleep(MODEL)
        wake_and_check(a, sleeper)


def check_it_cost_nothing(node: Node, sleeper: Sleeper, old: Document) -> None:
    """Check after a failed sleep that the model serves, that the status tells of it, and that the checkpoint is whole."""
    status = node.llmux.status(MODEL)
    assert status["state"] == "running"
    assert status["problem"]["message"]
    assert status["checkpoint"] == old
    node.container.exec(PYTHON, "-m", "llmux.criu_images", "verify", IMAGES)
    check_restored(node, sleeper)


@contextmanager
def connected_to_an_engines_socket(node: Node) -> Iterator[None]:
    """Hold a connection, from outside of the tree, to a Unix socket it listens on: CRIU can't dump half a pair."""
    script = (
        "import pathlib, socket, time\n"
        "listening = [line.split()[-1] for line in open('/proc/net/unix') if ' 00010000 0001 ' in line]\n"
        "held = socket.socket(socket.AF_UNIX)\n"
        "held.connect(next(path for path in listening if path.startswith('/tmp/')))\n"
        "pathlib.Path('/tmp/connected').touch()\n"
        "while pathlib.Path('/tmp/connected').exists(): time.sleep(0.05)\n"
    )
    node.container.start(PYTHON, "-c", script)
    node.container.exec("timeout", "10", "sh", "-c", "until [ -e /tmp/connected ]; do sleep 0.05; done")
    try:
        yield
    finally:
        node.container.exec("rm", "/tmp/connected")


# ---- a restore that cannot be ----


@pytest.mark.demand("foreign-manifest")
def test_an_edited_manifest_is_named_at_start_and_leads_to_a_cold_start(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    edit(manifest_of(desk), '"size": ', '"size": 1')
    check_not_restored(desk, sleeper, "seal")


def test_a_manifest_of_another_version_is_named_and_leads_to_a_cold_start(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    edit(manifest_of(desk), '"version": 1', '"version": 2')
    check_not_restored(desk, sleeper, "version 2")


def test_a_missing_manifest_is_named_and_leads_to_a_cold_start(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    manifest_of(desk).unlink()
    check_not_restored(desk, sleeper, "no manifest")


def test_a_missing_image_is_named_and_leads_to_a_cold_start(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    (desk.checkpoints / MODEL / "images" / "inventory.img").unlink()
    check_not_restored(desk, sleeper, "inventory.img")


def check_not_restored(desk: Bench, sleeper: Sleeper, reason: str) -> None:
    """Check that B serves after a cold start, having said why."""
    with desk.node("b", SETTINGS) as b:
        problem = b.llmux.status(MODEL)["checkpoint_problem"]
        assert problem is None or reason in problem["message"]
        b.llmux.wake(MODEL)
        check_cold_start(b, sleeper, reason)


@pytest.mark.demand("foreign-manifest")
def test_images_of_another_dump_lead_to_a_cold_start(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    images = desk.checkpoints / MODEL / "images"
    core = next(images.glob("core-*.img"))
    core.write_bytes(core.read_bytes() + b"\0")
    check_not_restored(desk, sleeper, core.name)


@pytest.mark.demand("file-build-id")
def test_another_build_of_the_image_leads_to_a_cold_start(desk: Bench, asleep_on) -> None:
    """B's image has another build of a library that the engine has mapped: all is as before but its build-id."""
    sleeper = asleep_on(desk, SETTINGS)
    library, build_id = mapped_library(desk)
    here = desk.directory / "library.so"
    with desk.node("b", SETTINGS) as b:
        b.container.copy_out(library, here)
    other = bytes.fromhex(build_id)[::-1]
    here.write_bytes(here.read_bytes().replace(bytes.fromhex(build_id), other))
    with desk.node("c", SETTINGS, mounts=(Mount(here, library, read_only=True),)) as c:
        c.llmux.wake(MODEL)
        check_cold_start(c, sleeper, library)


def mapped_library(desk: Bench) -> tuple[str, str]:
    """Return the path and the build-id of a library of the image that the engine has mapped."""
    manifest = json.loads(manifest_of(desk).read_text())
    files = [file for file in manifest["files"] if file["origin"] == "image" and file["build_id"]]
    return next((file["names"][0], file["build_id"]) for file in files if "libzmq" in file["names"][0])


def test_a_port_that_is_taken_is_named_and_the_model_wakes_once_it_is_free(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    with desk.node("b", SETTINGS) as b:
        occupy = f"import socket; s = socket.create_server((str(), {ENGINE_PORT})); c, _ = s.accept(); s.close(); c.close()"
        b.container.start(PYTHON, "-c", occupy)
        with pytest.raises(RefusedError, match=str(ENGINE_PORT)):
            b.llmux.wake(MODEL)
        with b.llmux.http.dial(ENGINE_PORT, 5) as connection:
            connection.settimeout(30)
            assert connection.recv(1) == b""  # the occupant accepts one connection and ends
        assert b.llmux.chat(MODEL) == sleeper.answer


def test_an_unwritable_checkpoint_directory_is_named(desk: Bench) -> None:
    desk.checkpoints.mkdir()
    with desk.node("a", SETTINGS, mounts=(Mount(desk.checkpoints, CHECKPOINTS, read_only=True),)) as a:
        answer = a.llmux.chat(MODEL)
        with pytest.raises(RefusedError, match=r"(?i)read-only") as refused:
            a.llmux.sleep(MODEL)
        assert CHECKPOINTS in refused.value.message
        assert a.llmux.status(MODEL)["state"] == "running"
        assert a.llmux.chat(MODEL) == answer


def test_a_read_only_checkpoint_still_wakes(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    with desk.node("b", SETTINGS, mounts=(Mount(desk.checkpoints, CHECKPOINTS, read_only=True),)) as b:
        wake_and_check(b, sleeper)


def manifest_of(desk: Bench) -> Path:
    """Return the path of the checkpoint's manifest."""
    return desk.checkpoints / MODEL / "images" / "llmux-manifest.json"


def edit(manifest: Path, before: str, after: str) -> None:
    """Change one place, as a person with an editor would."""
    text = manifest.read_text()
    assert before in text
    manifest.write_text(text.replace(before, after, 1))
