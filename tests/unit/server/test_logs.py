"""What a line of the log looks like: text for people, JSON for programs, and no more than one line's worth of either."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from contextvars import copy_context

import pytest

from llmux.server._logs import REQUEST, LogFormat, formatter, log_to, tell

log = logging.getLogger("llmux.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def root_logger():
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


def test_where_nobody_looks_a_line_is_a_json_object():
    stream = io.StringIO()
    log_to(stream)
    log.info("%s: %s -> %s", "m", "waking", "running", extra={"seconds": 0.5})
    log.debug("not this")
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "level": "info",
        "logger": "llmux.test",
        "message": "m: waking -> running",
        "seconds": 0.5,
    }


def test_on_a_terminal_it_is_for_people():
    stream = Terminal()
    log_to(stream)
    log.warning("beware", extra={"seconds": 0.5})
    assert "beware" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(stream.getvalue())


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_the_format_that_is_asked_for_is_the_format(stream):
    log_to(stream, LogFormat.JSON)
    log.info("x")
    assert json.loads(stream.getvalue())["message"] == "x"


def test_text_that_is_asked_for_has_no_colours_where_there_is_no_terminal():
    stream = io.StringIO()
    log_to(stream, LogFormat.TEXT, verbose=True)
    log.debug("x", extra={"wake": "cold"})
    assert stream.getvalue().rstrip().endswith("[debug    ] x wake=cold")


def within():
    REQUEST.set("r-1")
    log.info("within")


@pytest.mark.parametrize("form", [LogFormat.TEXT, LogFormat.JSON])
def test_a_requests_id_is_on_its_lines(form):
    stream = io.StringIO()
    log_to(stream, form)
    copy_context().run(within)
    log.info("without")
    of_it, of_none = stream.getvalue().splitlines()
    assert "r-1" in of_it
    assert "r-1" not in of_none


@pytest.mark.parametrize("form", [LogFormat.TEXT, LogFormat.JSON])
def test_what_is_told_the_short_way_is_the_same_line(form):
    stream = io.StringIO()
    log_to(stream, form)
    fields = {"model": "m", "seconds": 0.5}
    tell(log, logging.INFO, "GET /%s: 200", fields)
    log.info("%s", "GET /%s: 200", extra=fields)
    tell(log, logging.DEBUG, "not this", {})
    short, long = (without_time(line, form) for line in stream.getvalue().splitlines())
    assert short == long


def without_time(line, form):
    if form is LogFormat.TEXT:
        return line.partition(" ")[2]
    return {name: value for name, value in json.loads(line).items() if name != "timestamp"}


@pytest.mark.parametrize("form", [LogFormat.TEXT, LogFormat.JSON])
def test_a_traceback_has_no_values_of_variables(form):
    stream = io.StringIO()
    log_to(stream, form)
    prompt = "what nobody " + "may see"
    try:
        {}[len(prompt)]
    except LookupError:
        log.exception("failed")
    assert "KeyError" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()
    assert prompt not in stream.getvalue()


def test_a_message_makes_no_line_of_its_own_and_moves_no_cursor():
    stream = io.StringIO()
    log_to(stream, LogFormat.TEXT)
    log.info("GET /v1/%s", "a\n2026-01-01 [info] forged\x1b[2J\r\x9b\u2028")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("GET /v1/a")
    assert second == r"    2026-01-01 [info] forged\x1b[2J\r\x9b\u2028"


def test_a_line_of_json_is_one_line():
    line = formatter(LogFormat.JSON, terminal=False).format(
        logging.makeLogRecord({"msg": "a\nb", "levelname": "INFO", "levelno": 20, "name": "n"})
    )
    assert "\n" not in line


@pytest.mark.parametrize("path", ["/v1/\u2028", "/v1/é", "/v1/\x9b2J", "/v1/\udcff"])
def test_a_line_of_json_is_ascii(path):
    stream = io.StringIO()
    log_to(stream, LogFormat.JSON)
    tell(log, logging.INFO, "GET", {"path": path})
    assert stream.getvalue().isascii()
    assert json.loads(stream.getvalue())["path"] == path


async def test_the_lines_of_one_turn_of_the_loop_are_written_at_its_end():
    stream = io.StringIO()
    log_to(stream, LogFormat.JSON)
    log.info("one")
    tell(log, logging.INFO, "two", {})
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    assert messages(stream) == ["one", "two"]


def test_what_a_loop_had_no_turn_left_for_is_written_in_that_of_the_next():
    stream = io.StringIO()
    log_to(stream, LogFormat.JSON)

    async def told(message):
        log.info(message)

    async def seen(message):
        log.info(message)
        await asyncio.sleep(0)
        return messages(stream)

    asyncio.run(told("one"))
    assert asyncio.run(seen("two")) == ["one", "two"]


async def test_a_warning_is_written_at_once_after_what_waits():
    stream = io.StringIO()
    log_to(stream, LogFormat.JSON)
    log.info("one")
    log.warning("two")
    assert messages(stream) == ["one", "two"]
    await asyncio.sleep(0)
    assert messages(stream) == ["one", "two"]


async def test_what_a_thread_logs_is_written_at_once():
    stream = io.StringIO()
    log_to(stream, LogFormat.JSON)
    log.info("one")
    await asyncio.to_thread(log.info, "two")
    assert messages(stream) == ["one", "two"]


async def test_a_stream_that_cannot_be_written_fails_nobody(capsys):
    class Full(io.StringIO):
        def write(self, _text):
            raise OSError("No space left on device")

    failed = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
    log_to(Full(), LogFormat.JSON)
    log.info("one")
    await asyncio.sleep(0)
    assert "No space left on device" in capsys.readouterr().err
    assert failed == []


def messages(stream):
    return [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
