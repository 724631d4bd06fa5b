"""How far an operation is, as far as anybody can say."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from llmux.server._takes import Takes

M = {"model": "m"}


async def test_a_sleep_says_what_it_waits_for_and_how_much_is_written(configured):
    answered = asyncio.ensure_future(  # noqa: TID251 - a test's clients are tasks of its own
        configured.call("POST", "/v1/completions", M)
    )
    await configured.engine.begun.wait()
    held = configured.hands["m"].gates["dump"] = asyncio.Event()
    begun = await configured.call("POST", "/control/sleep?wait=false", M)
    where = begun.headers["Location"]
    seen = (await configured.call("GET", where)).json
    assert (seen["phase"], seen["percent"], seen["eta_seconds"]) == ("draining", None, None)
    configured.engine.go.set()
    await answered
    making = configured.images / "m" / ".generation-1"
    await asyncio.to_thread(making.mkdir, parents=True)
    await asyncio.to_thread((making / "pages-1.img").write_bytes, b"x" * 10_000)
    while (seen := (await configured.call("GET", where)).json)["phase"] != "dump":
        pass
    assert seen["bytes"] >= 10_000
    held.set()
    assert (await configured.call("GET", f"{where}?wait=5")).json["status"] == "done"


async def test_what_a_dump_still_takes_is_told_by_how_fast_its_bytes_come(configured, stored):
    replica = configured.driver.models["m"].replicas[0]
    await configured.call("POST", "/control/wake", M)
    replica.stored = replace(stored, size_bytes=40_000)
    held = configured.hands["m"].gates["dump"] = asyncio.Event()
    making = configured.images / "m" / ".generation-1"
    await asyncio.to_thread(making.mkdir, parents=True)
    await asyncio.to_thread((making / "pages-1.img").write_bytes, b"x" * 20_000)
    where = (await configured.call("POST", "/control/sleep?wait=false", M)).headers["Location"]
    while (seen := (await configured.call("GET", where)).json)["phase"] != "dump":
        pass
    assert seen["bytes_in_all"] == 40_000
    assert seen["eta_seconds"] < 60  # half of it is written; nothing that was ever measured says so
    held.set()
    await configured.call("GET", f"{where}?wait=5")


async def test_what_a_wake_still_takes_is_told_by_what_its_phases_used_to_take(configured):
    replica = configured.driver.models["m"].replicas[0]
    await configured.call("POST", "/control/wake", M)
    await configured.call("POST", "/control/sleep", {**M, "eviction": {"process": "keep_running"}})
    held = configured.hands["m"].gates["resume"] = asyncio.Event()
    replica.takes = Takes(parts={"wake:keep_running/wake": 200.0})
    begun = await configured.call("POST", "/control/wake?wait=false", M)
    while (seen := (await configured.call("GET", begun.headers["Location"])).json)["phase"] != "wake":
        pass
    assert 190 < seen["eta_seconds"] <= 200
    held.set()
    assert (await configured.call("GET", f"{begun.headers['Location']}?wait=5")).json["status"] == "done"
    assert replica.takes.parts["wake:keep_running/wake"] < 100  # as it was measured now


async def test_what_nobody_needs_is_removed_as_an_operation_too(configured):
    for name in ("gone", "lost"):
        half = configured.images / name / ".generation-1"
        await asyncio.to_thread(half.mkdir, parents=True)
        await asyncio.to_thread((half / "pages-1.img").write_bytes, b"x" * 10_000)
    begun = await configured.call("POST", "/control/checkpoints/prune?wait=false", {"dry_run": True})
    assert (begun.status, begun.json["kind"], begun.json["model"]) == (202, "prune", None)
    over = (await configured.call("GET", f"{begun.headers['Location']}?wait=5")).json
    assert (over["status"], len(over["result"]["removed"])) == ("done", 2)
    assert len((await configured.call("POST", "/control/checkpoints/prune")).json["removed"]) == 2
