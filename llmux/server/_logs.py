"""Where llmux's own log goes: to stderr, as lines for people on a terminal and as one JSON object a line elsewhere.

Modules log by `logging`, which everybody knows. What is logged while a request is handled has its id. structlog writes the lines for
people; each request has one, so that those of JSON are made the short way. Tracebacks come
without the values of variables: those may be prompts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import PurePath
from typing import TextIO

import structlog
from msgspec.json import Encoder
from structlog.typing import EventDict, WrappedLogger

from llmux.server._printable import printable

REQUEST: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that is being handled."""


class LogFormat(StrEnum):
    """How a line of the log looks."""

    AUTO = "auto"  # text on a terminal, else JSON
    TEXT = "text"
    JSON = "json"


def log_to(stream: TextIO, form: LogFormat = LogFormat.AUTO, *, verbose: bool = False) -> None:
    """Write all that is logged in this process to `stream` from now on."""
    handler = _InTurns(stream)
    handler.setFormatter(formatter(form, terminal=stream.isatty()))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)


def formatter(form: LogFormat, *, terminal: bool) -> logging.Formatter:
    """Return what makes a line of a record; colours are for a terminal alone."""
    as_json = form is LogFormat.JSON or (form is LogFormat.AUTO and not terminal)
    return _JsonLines() if as_json else _text(colors=terminal)


class _InTurns(logging.StreamHandler[TextIO]):
    """Writes what is logged in one turn of an event loop together, at its end: each request has a line, and each write takes its time.

    A warning, and whatever is logged outside a loop, is written at once, after what waits.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waits: list[str] = []
        self._due: asyncio.AbstractEventLoop | None = None
        """The loop at the end of whose turn they are written."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record, or have it written soon."""
        try:
            self._waits.append(self.format(record) + self.terminator)
            loop = _running_loop() if record.levelno < logging.WARNING else None
            if loop is None:
                self.flush()
            elif loop is not self._due:
                self._due = loop
                loop.call_soon(self._end_turn, record)
        except Exception:  # noqa: BLE001 - logging's own way: a record that cannot be written stops nobody
            self.handleError(record)

    def _end_turn(self, record: logging.LogRecord) -> None:
        self._due = None
        try:
            self.flush()
        except Exception:  # noqa: BLE001 - the same
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            waits, self._waits = self._waits, []
            if waits:
                self.stream.write("".join(waits))
            super().flush()
        finally:
            self.release()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_BLANK = logging.makeLogRecord({}).__dict__ | {"args": ()}
_OF_EVERY_RECORD = frozenset(_BLANK) | {"message", "asctime", "taskName"}
_LINE = "_llmux_line"


def _plain(value: object) -> str:
    return str(value) if isinstance(value, str | PurePath) else repr(value)


_QUICK = Encoder(enc_hook=_plain)
_JSON = json.JSONEncoder(default=_plain, separators=(",", ":"))
"""For what the quick one does not write: a path that is no UTF-8, and what is no ASCII."""


@lru_cache(maxsize=2)
def _second(since_epoch: int) -> str:
    return datetime.fromtimestamp(since_epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _JsonLines(logging.Formatter):
    """Makes one JSON object of a record, once: stderr and the ring of the latest lines have the same."""

    def format(self, record: logging.LogRecord) -> str:
        line = record.__dict__.get(_LINE)
        if line is None:
            line = record.__dict__[_LINE] = _encoded(self._fields(record))
        return str(line)

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        told: dict[str, object] = {
            "level": record.levelname.lower(),
            "logger": record.name,
            **(record.fields if isinstance(record, _Told) else _fields_of(record)),
            "timestamp": f"{_second(int(record.created))}.{int(record.created % 1 * 1_000_000):06}Z",
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return told


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    extra = {name: value for name, value in record.__dict__.items() if name not in _OF_EVERY_RECORD}
    known = REQUEST.get()
    return {"request_id": known, **extra} if known else extra


def _encoded(fields: Mapping[str, object]) -> str:
    """Return the JSON of a line, in ASCII, as other characters can move the cursor of whoever looks at it on a terminal."""
    try:
        line = _QUICK.encode(fields)
    except ValueError:
        return _JSON.encode(fields)
    return line.decode() if line.isascii() else _JSON.encode(fields)


class _Told(logging.LogRecord):
    """What `tell` logs: `logging` looks for a record's caller, thread and process, which takes as long as all else."""

    __slots__ = ("fields",)

    def __init__(self, name: str, level: int, message: str, fields: Mapping[str, object]) -> None:
        self.fields = fields
        self.__dict__ = every = _BLANK.copy()
        every.update(fields)
        every["name"], every["levelno"], every["levelname"] = name, level, logging.getLevelName(level)
        every["msg"], every["created"] = message, time.time()


def tell(log: logging.Logger, level: int, message: str, fields: Mapping[str, object]) -> None:
    """Log a message with `fields`, which name the request, if it is of one: the quick way, for what each request tells."""
    if log.isEnabledFor(level):
        log.handle(_Told(log.name, level, message, fields))


def _text(*, colors: bool) -> logging.Formatter:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=0,
        sort_keys=False,
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _with_request,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _shorter,
            _on_lines_of_its_own,
            renderer,
        ],
    )


def _with_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if known := REQUEST.get():
        event["request_id"] = known
    return event


def _shorter(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave out what people see in the message itself."""
    for name in ("logger", "method", "path", "status"):
        event.pop(name, None)
    return event


def _on_lines_of_its_own(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Indent a message's further lines and escape control characters: no path of a client's makes a line, or moves a cursor."""
    event["event"] = printable(str(event["event"]), keep="\n").replace("\n", "\n    ")
    return event


def log_to_stderr(form: LogFormat, *, verbose: bool) -> None:
    """Write all that is logged in this process to stderr from now on."""
    log_to(sys.stderr, form, verbose=verbose)
