"""`llmux bench` before a real llmux, whose engines stream, fail and hang as they are told."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess  # noqa: TID251 - what a signal does is tested on a process
import sys
import threading

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner

from llmux.server import _app
from llmux.server._cli_bench import bench_command


class Engine:
    """Says three words, in pieces where that is wanted."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        self.fault = ""
        self.hold = asyncio.Event()
        self.hold.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        await self.hold.wait()
        if self.fault == "refuse":
            return web.json_response({"error": {"code": "too_long", "message": "too long"}}, status=400)
        if not body["stream"]:
            return web.json_response({"choices": [{"text": "a b c"}], "usage": {"completion_tokens": 3}})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in ("", "a ", "b ", "c"):
            event = {"choices": [{"delta": {"content": word}, "text": word}]}
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        if self.fault != "cut":
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
async def url(serve, make_driver, make_hands, engine):
    """Serve m and n, of which one is awake at a time."""
    app = web.Application()
    for path in ("/v1/completions", "/v1/chat/completions"):
        app.router.add_post(path, engine.answer)
    where = await serve(app)
    return str(await serve(_app.build(make_driver({"m": make_hands(where), "n": make_hands(where)}, 1))))


@pytest.fixture
def bench(url):
    async def run(*argv):
        done = await asyncio.to_thread(CliRunner().invoke, bench_command, [*argv, "--host", url])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


async def test_each_model_gets_its_requests_and_is_told_of(bench, engine):
    done = await bench("m", "n", "--requests", "3", "--concurrency", "1", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["ended"], told["unfinished"], set(told["models"])) == ("done", 0, {"m", "n"})
    for model in told["models"].values():
        assert (model["requests"], model["answers"], model["errors"], model["tokens"]) == (3, 3, {}, 9)
        assert model["wakes"]["cold"] == 1
        assert 0 < model["first_token"]["p50"] <= model["answer"]["p99"]
        assert model["queued"]["count"] == 3
    assert [body["model"] for body in engine.asked] == ["m", "n"] * 3
    assert len({json.dumps(body["messages"]) for body in engine.asked}) == 6


async def test_people_get_a_table(bench):
    done = await bench("m", "--requests", "2")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["m"]
    table = {line[:26].strip(): line[26:].split() for line in lines[1:] if line}
    assert (table["requests"], table["answers"], table["errors"]) == (["2"], ["2"], ["none"])
    assert len(table["first token, p50 p95 p99"]) == 4
    assert table["tokens"] == ["6"]
    assert done.stdout.splitlines()[-1].startswith("measured for 0.")


async def test_what_is_asked_is_what_was_said(bench, engine):
    said = ("--prompt", "hello", "--max-tokens", "7", "--api", "completions", "--no-stream")
    done = await bench("m", "--requests", "2", *said, "--json")
    asked = {"model": "m", "prompt": "hello", "max_tokens": 7, "stream": False}
    assert engine.asked == [asked, asked]
    told = json.loads(done.stdout)["models"]["m"]
    assert (told["tokens"], told["first_token"], told["pace"]) == (6, None, None)


@pytest.mark.parametrize(("fault", "code"), [("refuse", "too_long"), ("cut", "broken_off")])
async def test_errors_are_counted_by_code_and_are_no_success(bench, engine, fault, code):
    engine.fault = fault
    done = await bench("m", "--requests", "3", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)["models"]["m"]
    assert (told["answers"], told["errors"]) == (0, {code: 3})


async def test_an_error_is_told_in_its_own_words(bench, engine):
    engine.fault = "refuse"
    assert "note: m: too_long: too long" in (await bench("m", "--requests", "1")).stdout


async def test_an_answer_that_does_not_come_is_an_error_and_the_whole_is_bounded(bench, engine):
    engine.hold.clear()
    done = await bench("m", "--requests", "1", "--timeout", "0.2", "--json")
    assert json.loads(done.stdout)["models"]["m"]["errors"] == {"timed_out": 1}
    done = await bench("m", "--requests", "9", "--concurrency", "2", "--duration", "0.3", "--json")
    told = json.loads(done.stdout)
    assert (told["ended"], told["unfinished"], done.exit_code) == ("time", 2, 1)


async def test_switches_are_told_from_both_sides(bench, engine):
    done = await bench("m", "n", "--switches", "4", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["remarks"] == []
    for model in told["models"].values():
        assert (model["requests"], model["switched"], model["slept"]) == (2, 2, None)
        assert model["queued"]["most"] + 0.001 >= model["wake"]["most"]
        assert model["rest"]["count"] == 2
    assert told["models"]["n"]["sleep"]["count"] == 2
    assert told["models"]["n"]["wakes"] == {"cold": 1, "restored": 1}
    table = (await bench("m", "n", "--switches", "2")).stdout
    for row in ("client: queued, p50 p95", "llmux: sleep, p50 p95", "llmux: wake, p50 p95"):
        assert row in table


async def test_a_model_alone_is_put_to_sleep_before_each_request(bench, url):
    told = json.loads((await bench("m", "--switches", "3", "--json")).stdout)["models"]["m"]
    assert told["slept"]["count"] == 2  # at first it had not been started
    assert told["wakes"] == {"restored": 2, "cold": 1}
    async with aiohttp.request("POST", f"{url}control/sleep", json={"model": "m"}) as response:
        assert response.status == 200
    told = json.loads((await bench("m", "--switches", "2", "--json")).stdout)["models"]["m"]
    assert told["slept"]["count"] == 1  # at first it slept


async def test_models_that_fit_together_need_no_switch_and_that_is_said(
    serve, make_driver, make_hands, engine
):
    app = web.Application()
    app.router.add_post("/v1/chat/completions", engine.answer)
    where = await serve(app)
    url = str(await serve(_app.build(make_driver({"m": make_hands(where), "n": make_hands(where)}))))
    argv = ["m", "n", "--switches", "4", "--host", url]
    done = await asyncio.to_thread(CliRunner().invoke, bench_command, argv)
    assert "note: 2 of 3 requests found their model awake" in done.stdout


async def test_what_was_seen_is_printed_on_ctrl_c(url, engine):
    engine.hold.clear()
    argv = [sys.executable, "-m", "llmux.server", "bench", "m", "--json", "--host", url, "--concurrency", "3"]

    def interrupted():
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            began.wait(60)
            process.send_signal(signal.SIGINT)
            return process.communicate(timeout=60)[0], process.returncode

    began = threading.Event()
    waiting = asyncio.get_running_loop().run_in_executor(None, interrupted)
    while len(engine.asked) < 3:  # noqa: ASYNC110 - another process asks
        await asyncio.sleep(0.01)
    began.set()
    printed, code = await waiting
    told = json.loads(printed)
    assert (told["ended"], told["unfinished"], code) == ("interrupted", 3, 130)


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("nobody",), 1, "'nobody' does not exist"),
        ((), 2, "Missing argument 'MODEL...'"),
        (("m", "--requests", "0"), 2, "0 is not in the range"),
    ],
)
async def test_what_cannot_be_measured_says_why(bench, argv, code, said):
    done = (
        await bench(*argv)
        if "--host" not in argv
        else await asyncio.to_thread(CliRunner().invoke, bench_command, list(argv))
    )
    assert done.exit_code == code
    assert said in done.stderr


def test_without_llmux_it_says_so():
    done = CliRunner().invoke(bench_command, ["m", "--host", "127.0.0.1:9"])
    assert done.exit_code == 3
    assert "llmux does not answer" in done.stderr
