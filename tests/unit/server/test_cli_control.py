"""The commands for all that the control API can do, before a real llmux."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmux.server import _app, _cli_streams
from llmux.server._capacity import Found, Quantity
from llmux.server._cli_checkpoints import checkpoints_command
from llmux.server._cli_ruling import (
    drain_command,
    mode_command,
    pin_command,
    reload_command,
    undrain_command,
    unpin_command,
)
from llmux.server._cli_status import status_command
from llmux.server._cli_streams import events_command, logs_command, requests_command
from llmux.server._cli_switch import sleep_command, switch_command, wake_command
from llmux.server._reload import ConfigFile, Reloader

COMMANDS = {
    command.name: command
    for command in (
        *(drain_command, undrain_command, mode_command, pin_command, unpin_command, reload_command),
        *(events_command, logs_command, requests_command, checkpoints_command),
        *(sleep_command, wake_command, switch_command, status_command),
    )
}


FIXTURE = Path(__file__).parents[2] / "fixtures" / "images" / "tiny_engine"


@pytest.fixture
def hands(make_hands):
    return make_hands()


@pytest.fixture
async def llmux(serve, make_driver, make_hands, hands):
    """Give a function that runs a command before an llmux of two models, of which one is awake at a time."""
    url = str(await serve(_app.build(make_driver({"m": hands, "other": make_hands()}, max_awake=1))))

    async def run(name, *argv):
        done = await asyncio.to_thread(
            CliRunner().invoke, COMMANDS[name], list(argv), env={"LLMUX_HOST": url, "LLMUX_TOKEN": None}
        )
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


async def said(llmux, *argv):
    done = await llmux(*argv)
    assert done.exit_code == 0, done.stderr
    return done.stdout


async def test_a_switch_tells_who_sleeps_for_it(llmux):
    await said(llmux, "wake", "m")
    told = await said(llmux, "switch", "other")
    assert told.startswith("other: awake after ")
    assert told.rstrip().endswith("; put to sleep: m")
    answer = json.loads(await said(llmux, "switch", "m", "--json"))
    assert (answer["model"], answer["put_to_sleep"]) == ("m", ["other"])


async def test_what_serves_already_is_not_said_to_have_been_woken(llmux, hands):
    hands.gates["cold_start"] = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, hands.gates["cold_start"].set)
    assert "(started cold: it had not been started before)" in await said(llmux, "wake", "m")
    assert await said(llmux, "wake", "m") == "m: awake already\n"
    assert await said(llmux, "switch", "m") == "m: awake already\n"


async def test_what_sleeps_already_is_not_said_to_have_been_put_to_sleep(llmux):
    await said(llmux, "wake", "m")
    assert (await said(llmux, "sleep", "m", "--process", "stop")).startswith("m: asleep after ")
    assert await said(llmux, "sleep", "m") == "m: asleep already (process ended)\n"
    assert json.loads(await said(llmux, "sleep", "m", "--json"))["already"]
    done = await llmux("sleep", "m", "--process", "keep_running")
    assert done.exit_code == 1
    assert (
        "a model that is asleep (weights discard, process stop) cannot be put to sleep (weights discard, process keep_running)"
        in done.stderr
    )
    assert "wake it first" in done.stderr


async def test_the_table_tells_what_was_said_by_hand(llmux):
    await said(llmux, "pin", "m")
    await said(llmux, "drain", "m")
    await said(llmux, "drain", "other")
    await said(llmux, "mode", "manual")
    table = (await said(llmux, "status")).splitlines()
    assert "awake, pinned, drained" in table[1]
    assert "not started, drained" in table[2]
    assert table[-1].startswith("manual: models wake and sleep by hand only; ")
    await said(llmux, "undrain", "m")
    await said(llmux, "mode", "auto")
    await said(llmux, "drain")
    table = (await said(llmux, "status")).splitlines()
    assert "awake, pinned  " in table[1]
    assert table[-1].startswith("the policy fifo decides who is awake; drained: no new request is let in; ")


async def test_a_model_is_pinned_and_unpinned(llmux):
    assert await said(llmux, "pin", "m") == "m: pinned\n"
    assert await said(llmux, "unpin", "m") == "m: not pinned\n"
    assert json.loads(await said(llmux, "pin", "m", "--json")) == {"model": "m", "pinned": True}


async def test_who_decides_is_told_and_set(llmux):
    assert await said(llmux, "mode") == "auto\n"
    assert await said(llmux, "mode", "manual") == "manual\n"
    assert await said(llmux, "mode") == "manual\n"
    assert (await llmux("mode", "chaos")).exit_code == 2


async def test_requests_are_drained_and_let_in_again(llmux):
    assert (await said(llmux, "drain", "m")).startswith("m: drained after 0.")
    assert await said(llmux, "undrain", "m") == "m: new requests are let in\n"
    assert (await said(llmux, "drain")).startswith("all models: drained after 0.")
    assert await said(llmux, "undrain") == "all models: new requests are let in\n"


async def test_requests_are_listed_and_cancelled(llmux):
    assert await said(llmux, "requests") == "no request waits or is being answered\n"
    assert json.loads(await said(llmux, "requests", "--model", "m", "--json")) == {"requests": []}
    done = await llmux("requests", "--cancel", "no/body?")
    assert done.exit_code == 1
    assert "no/body?" in done.stderr


async def test_the_log_of_llmux_is_printed(llmux, caplog):
    caplog.set_level(logging.INFO)
    await said(llmux, "wake", "m")
    assert "m: starting -> running" in await said(llmux, "logs")
    assert (await said(llmux, "logs", "--lines", "0")) == ""


async def test_the_log_of_an_engine_is_printed_with_nothing_that_moves_a_cursor(llmux, tmp_path, hands):
    await said(llmux, "wake", "m")
    hands.lives[0].log = tmp_path / "m.log"
    hands.lives[0].log.write_text("one\ntwo \x1b[2J\n")
    assert await said(llmux, "logs", "m", "--lines", "1") == "two \\x1b[2J\n"
    assert json.loads(await said(llmux, "logs", "m", "--lines", "1", "--json")) == {"line": "two \x1b[2J"}
    assert (await llmux("logs", "nobody")).exit_code == 1


async def test_an_engine_that_has_written_nothing_is_said_to_have_written_nothing(llmux, tmp_path, hands):
    await said(llmux, "wake", "m")
    hands.lives[0].log = tmp_path / "m.log"
    hands.lives[0].log.touch()
    done = await llmux("logs", "m")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"llmux: m: its engine has written nothing to {tmp_path}/m.log\n"
    hands.lives[0].log.write_text("one\n")
    for lines in ("0", "1"):
        assert (await llmux("logs", "m", "--lines", lines)).stderr == ""


async def test_events_are_printed_until_llmux_ends(serve, make_driver, make_hands):
    app = _app.build(make_driver({"m": make_hands()}))
    env = {"LLMUX_HOST": str(await serve(app)), "LLMUX_TOKEN": None}
    argv = ["--since", "0", "--model", "m", "--kind", "state_changed,wake_done", "--json"]
    await asyncio.to_thread(CliRunner().invoke, wake_command, ["m"], env=env)
    loop = asyncio.get_running_loop()
    watching = loop.run_in_executor(None, lambda: CliRunner().invoke(events_command, argv, env=env))
    await asyncio.sleep(1)  # the events that are kept are sent at once
    await app.shutdown()
    done = await watching
    assert done.exit_code == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["kind"] for each in told] == ["state_changed", "wake_done", "state_changed", "end"]
    assert (told[0]["before"], told[0]["after"], told[1]["wake"]) == ("not_started", "starting", "cold_start")


def test_an_event_is_a_line_for_people():
    event = {
        "id": 3,
        "at": "2026-01-01T00:00:00Z",
        "kind": "wake_done",
        "model": "m",
        "replica": "m#2",
        "seconds": 1.23456,
    }
    event |= {"reason": "", "phases": {"restore": 1.23456, "health": 0.5}, "problem": {"code": "x\x1b"}}
    event |= {"why": "two words", "tokens": {}}
    assert _cli_streams._line(event) == (
        "2026-01-01T00:00:00Z wake_done m#2 seconds=1.235 phases=restore:1.235,health:0.500 "
        'problem={"code": "x\\u001b"} why="two words"'
    )


def test_the_line_of_an_event_names_a_request_once_unless_its_client_has_named_it():
    event = {"kind": "request_queued", "model": "m", "request": "36d1", "request_id": "36d1", "path": "/v1/x"}
    assert _cli_streams._line(event) == "request_queued m request=36d1 path=/v1/x"
    event["request_id"] = "mine"
    assert _cli_streams._line(event) == "request_queued m request=36d1 request_id=mine path=/v1/x"


async def test_checkpoints_are_listed_shown_and_removed(llmux):
    assert await said(llmux, "checkpoints", "list") == "there are no checkpoints\n"
    await said(llmux, "wake", "m")
    await said(llmux, "sleep", "m")
    listed = (await said(llmux, "checkpoints", "list")).splitlines()
    assert re.split(r" {2,}", listed[1])[:3] == ["m", "whole as far as is known", "7 bytes"]
    assert re.search(r" \d+ days +weights dropped, process on disk ", listed[1])
    assert "its model sleeps in it" in listed[1]
    unread = await llmux("checkpoints", "show", "m")
    assert unread.exit_code == 1
    assert re.search("path +/images", unread.stdout)
    assert "llmux: the checkpoint of 'm' cannot be read: " in unread.stderr
    assert (await said(llmux, "checkpoints", "prune", "--dry-run")).startswith("would be removed: 0")
    kept = await llmux("checkpoints", "delete", "m")
    assert kept.exit_code == 1  # nobody has said yes
    assert await said(llmux, "checkpoints", "delete", "m", "--yes") == "m: removed\n"
    assert await said(llmux, "checkpoints", "list") == "there are no checkpoints\n"
    assert (await llmux("checkpoints", "show", "m")).exit_code == 1


@pytest.mark.usefixtures("pycriu_for_the_library")
async def test_one_checkpoint_is_shown_with_what_is_in_it_and_needs(llmux, hands, stored):
    hands.again = replace(stored, path=FIXTURE)
    await said(llmux, "wake", "m")
    await said(llmux, "sleep", "m")
    shown = dict(
        re.split(r" {2,}", line.rstrip(), maxsplit=1)
        for line in (await said(llmux, "checkpoints", "show", "m")).splitlines()
        if not line.startswith(" ")
    )
    assert shown["checkpoint of"] == "m"
    assert shown["made"].startswith("1970-01-01 00:16:40 UTC, ")
    assert shown["made"].endswith(
        " days ago, by llmux 0.1.0 and CRIU 4.2.1 on Linux 6.18.44-fc-v669, in fixture"
    )
    assert (shown["size"], shown["files carried (5)"]) == ("7 bytes, generation 1", "64 MiB")
    assert shown["processes (3)"] == "python 1000 1002 1003; with 8 threads"
    assert shown["Unix sockets (3)"] == "/tmp/822b233b-168c-4dca-b630-5c89057fa896 of python 1000"
    assert shown["missing here"].startswith(
        "this, and nothing else that a wake does not bring itself (it brings "
    )
    told = json.loads(await said(llmux, "checkpoints", "show", "m", "--json"))
    assert [each["comm"] for each in told["tasks"]] == ["python"] * 3


async def test_a_reload_that_llmux_cannot_do_is_told(llmux):
    assert (await llmux("reload")).exit_code == 1


async def test_a_reload_of_a_faulty_file_says_that_llmux_goes_on_as_before(
    serve, make_driver, make_hands, tmp_path
):
    file = ConfigFile(tmp_path / "config.json")
    good = {"models": {"m": {"model_path": "x", "engine": "tiny", "port": 8001}}}
    await asyncio.to_thread(file.path.write_text, json.dumps(good))
    settings = await asyncio.to_thread(file.load)
    driver = make_driver({"m": make_hands()})
    reloader = Reloader(driver, file, settings, Found(Quantity(1, ""), Quantity(1, ""), {}), make_hands)
    env = {"LLMUX_HOST": str(await serve(_app.build(driver, reloader))), "LLMUX_TOKEN": None}
    await asyncio.to_thread(file.path.write_text, json.dumps(good | {"prot": 1, "max_awake": 0}))
    done = await asyncio.to_thread(CliRunner().invoke, reload_command, [], env=env)
    assert (done.exit_code, done.stdout) == (1, "")
    head, *faults, last = done.stderr.splitlines()
    assert head == f"llmux: the configuration {file.path} has 2 faults:"
    assert [each.split(":")[0].strip() for each in faults] == ["max_awake", "prot"]
    assert last == "Nothing has changed: llmux goes on with the configuration that was in force"
