"""How far an operation is, as far as anybody can say."""

from __future__ import annotations

import asyncio

import pytest

from llmux.server.control._progress import Progress

M = {"model": "m"}


def test_a_percentage_is_of_bytes_where_they_are_known_and_else_of_time():
    assert Progress("p", eta=30.0, size=25, size_in_all=100).percent(10.0) == 25.0
    assert Progress("p", eta=30.0).percent(10.0) == 25.0
    assert Progress("p").percent(10.0) is None


@pytest.mark.parametrize("progress", [Progress("p", size=300, size_in_all=100), Progress("p", eta=0.0)])
def test_what_is_not_over_is_never_whole(progress):
    assert progress.percent(10.0) == 99.0


def test_no_time_at_all_is_nothing():
    assert Progress("p", eta=0.0).percent(0.0) == 0.0


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
    while (seen := (await configured.call("GET", where)).json)["phase"] == "draining":
        pass
    assert seen["phase"] == "going_to_sleep"
    assert seen["bytes"] >= 10_000
    held.set()
    assert (await configured.call("GET", f"{where}?wait=5")).json["status"] == "done"
