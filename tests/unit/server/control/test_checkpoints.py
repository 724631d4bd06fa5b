"""Checkpoints: listed, read by the library, verified, removed and pruned."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmux.criu_images.manifest import MANIFEST_NAME, Host, ImageEntry, Manifest, fingerprint_of
from llmux.server._checkpoints import CheckpointStore, Facts
from llmux.server._hands import Stored
from llmux.server._model import Eviction, Process, Weights

M = {"model": "m"}
DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
FIXTURE = Path(__file__).parents[3] / "fixtures" / "images" / "tiny_engine"
HOST = Host(
    name="h", kernel="6.18", machine="x86_64", cpu_model="m", cpu_features=(), criu="4.2.1", llmux="0.1.0"
)


pytestmark = pytest.mark.usefixtures("pycriu_for_the_library")


def make(images, name, pages=b"pages"):
    """Publish a checkpoint whose only image is no image of CRIU's."""
    store = CheckpointStore(images)
    generation = store.begin(name)
    (generation.directory / "pages-1.img").write_bytes(pages)
    digest = f"sha256:{hashlib.sha256(pages).hexdigest()}"
    listed = (ImageEntry(name="pages-1.img", size=len(pages), digest=digest),)
    manifest = Manifest(
        created_at=datetime.now(UTC),
        root_task=1000,
        ids=(1000,),
        container_started_ns=1,
        container_started_by="test",
        host=HOST,
        directories=(),
        files=(),
        images=listed,
        fingerprint=fingerprint_of(listed),
    )
    (generation.directory / MANIFEST_NAME).write_bytes(manifest.sealed().to_json())
    made = store.publish(generation, Facts(DISK, "c", 1000.0, 1.0))
    return Stored(made.directory, made.size_bytes, made.created_at.timestamp(), made.generation, DISK, 1.0)


async def sleep_in(house, path):
    """Have m asleep in the checkpoint at `path`."""
    await house.call("POST", "/control/wake", M)
    await house.call("POST", "/control/sleep", M)
    replica = house.driver.models["m"].replicas[0]
    replica.stored = path if isinstance(path, Stored) else Stored(path, 7, 1000.0, 1, DISK, 0.5)
    return replica


async def listed(house):
    return (await house.call("GET", "/control/checkpoints")).json["checkpoints"]


async def test_they_are_listed_with_their_use(house):
    assert await listed(house) == []
    await sleep_in(house, FIXTURE)
    (entry,) = await listed(house)
    assert (entry["name"], entry["kind"], entry["use"], entry["generation"]) == (
        "m",
        "published",
        "asleep",
        1,
    )
    assert entry["age_seconds"] > 0
    assert (await house.call("GET", "/control/checkpoints/m")).json["path"] == entry["path"]
    captured = (await house.call("GET", "/control/checkpoints/m")).json["captured"]
    assert (captured["llmux"], captured["criu"], captured["host"]) == ("0.1.0", "4.2.1", "fixture")
    assert (captured["carried_files"], captured["carried_bytes"]) == (5, 67_110_579)
    missing = await house.call("GET", "/control/checkpoints/n")
    assert (missing.status, missing.json["error"]["code"]) == (404, "checkpoint_not_found")


async def test_the_library_says_what_is_in_one_and_draws_it(house):
    await sleep_in(house, FIXTURE)
    report = await house.call("GET", "/control/checkpoints/m/report")
    assert (report.status, report.json["tasks"][0]["comm"]) == (200, "python")
    missing = (await house.call("GET", "/control/checkpoints/m/missing")).json["missing"]
    assert {"/dev/shm/psm_1a489f3c"} <= {each["path"] for each in missing}
    graph = await house.call("GET", "/control/checkpoints/m/graph")
    assert (graph.status, graph.headers["Content-Type"]) == (200, "image/svg+xml")
    assert graph.json.startswith(b"<svg")
    assert "sandbox" in graph.headers["Content-Security-Policy"]


async def test_what_cannot_be_read_says_why(house, tmp_path):
    await sleep_in(house, tmp_path / "nothing")
    assert (await house.call("GET", "/control/checkpoints/m")).json["captured"] is None
    for what in ("report", "missing", "graph"):
        refused = await house.call("GET", f"/control/checkpoints/m/{what}")
        assert (refused.status, refused.json["error"]["code"]) == (422, "checkpoint_unreadable")


async def test_one_is_verified_as_an_operation(configured):
    stored = await asyncio.to_thread(make, configured.images, "m")
    await sleep_in(configured, stored)
    sound = (await configured.call("POST", "/control/checkpoints/m/verify")).json
    assert (sound["sound"], sound["fault"], sound["generation"]) == (True, None, 1)
    assert sound["report"]["images"] == 1
    await asyncio.to_thread((stored.path / "pages-1.img").write_bytes, b"other")
    begun = await configured.call("POST", "/control/checkpoints/m/verify?wait=false")
    assert (begun.status, begun.json["phase"]) == (202, "verifying")
    over = (await configured.call("GET", begun.headers["Location"] + "?wait=30")).json
    assert (over["status"], over["result"]["sound"]) == ("done", False)
    assert over["result"]["fault"].startswith("image pages-1.img: ")
    assert "done_bytes" not in over["result"]["fault"]


@pytest.fixture
def python_that_stays(monkeypatch, tmp_path):
    """Have llmux's programs in Python end only once the file exists that is given."""
    go, program = tmp_path / "go", tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\n{sys.executable} "$@"\ncode=$?\n'
        f"for i in $(seq 600); do [ -e {go} ] && break; sleep 0.05; done\nexit $code\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return go


async def test_a_verification_tells_how_much_is_read(configured, python_that_stays):
    pages = 1 << 20
    stored = await asyncio.to_thread(make, configured.images, "m", b"p" * pages)
    await sleep_in(configured, stored)
    begun = await configured.call("POST", "/control/checkpoints/m/verify?wait=false")
    async with asyncio.timeout(30):
        while (now := (await configured.call("GET", begun.headers["Location"])).json)["bytes"] != pages:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (now["phase"], now["status"], now["bytes_in_all"]) == ("verifying", "under_way", stored.size_bytes)
    assert 90 < now["percent"] < 100
    assert now["eta_seconds"] > 0
    python_that_stays.touch()
    over = (await configured.call("GET", begun.headers["Location"] + "?wait=30")).json
    assert (over["status"], over["percent"], over["result"]["sound"]) == ("done", 100.0, True)


async def test_removing_one_makes_its_sleeping_model_sleep_deeper(house):
    replica = await sleep_in(house, FIXTURE)
    gone = await house.call("DELETE", "/control/checkpoints/m")
    assert (gone.status, gone.json) == (200, {"name": "m", "bytes": 7})
    assert (replica.stored, replica.state.eviction.process) == (None, "stop")
    woken = await house.call("POST", "/control/wake", M)
    assert woken.json["last_wake"]["kind"] == "cold_start"
    assert (await house.call("DELETE", "/control/checkpoints/m")).status == 404


async def test_one_of_a_model_that_serves_is_removed_and_the_model_serves_on(house):
    replica = await sleep_in(house, FIXTURE)
    await house.call("POST", "/control/wake", M)
    assert (await house.call("DELETE", "/control/checkpoints/m")).status == 200
    assert (replica.stored, house.hands["m"].stored) == (None, None)
    assert (await house.call("GET", "/control/status")).json["models"]["m"]["state"] == "running"


async def test_one_that_is_being_made_or_restored_is_not_removed(house):
    await sleep_in(house, FIXTURE)
    house.hands["m"].gates["restore"] = asyncio.Event()
    waking = await house.call("POST", "/control/wake?wait=false", M)
    while (await listed(house))[0]["use"] != "restoring":
        pass
    refused = await house.call("DELETE", "/control/checkpoints/m")
    assert (refused.status, refused.json["error"]["code"]) == (409, "illegal_move")
    house.hands["m"].gates["restore"].set()
    await house.call("GET", waking.headers["Location"] + "?wait=5")


async def test_what_nobody_needs_is_listed_and_pruned(configured):
    await asyncio.to_thread(make, configured.images, "gone")
    await asyncio.to_thread(make, configured.images, "n")
    half = configured.images / "n" / ".generation-9"
    await asyncio.to_thread(half.mkdir)
    assert {(each["name"], each["kind"]) for each in await listed(configured)} == {
        ("gone", "orphan"),
        ("n", "half_made"),
    }
    planned = (await configured.call("POST", "/control/checkpoints/prune", {"dry_run": True})).json
    assert [each["name"] for each in planned["removed"]] == ["gone", "n"]
    assert half.exists()
    done = (await configured.call("POST", "/control/checkpoints/prune")).json
    assert ([each["name"] for each in done["removed"]], done["kept"]) == (["gone", "n"], [])
    assert not half.exists()
    assert (configured.images / "n" / "images").exists()
    assert await listed(configured) == []


async def test_what_is_left_of_a_model_is_removed_by_its_name(configured):
    await asyncio.to_thread(make, configured.images, "gone")
    assert (await configured.call("DELETE", "/control/checkpoints/gone")).json["name"] == "gone"
    assert not (configured.images / "gone").exists()
    assert (await configured.call("DELETE", "/control/checkpoints/gone")).status == 404
