"""Where llmux's own log goes: to stderr, as lines for people on a terminal and as one JSON object a line elsewhere.

Modules log by `logging`, which everybody knows. structlog keeps what is bound to a request (`_request_log`), which each of its
lines has, and writes the lines for people; each request has one, so that those of JSON are made the short way. Tracebacks come
without the values of variables: those may be prompts.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from llmux.server._printable import printable


class LogFormat(StrEnum):
    """How a line of the log looks."""

    AUTO = "auto"  # text on a terminal, else JSON
    TEXT = "text"
    JSON = "json"


def log_to(stream: TextIO, form: LogFormat = LogFormat.AUTO, *, verbose: bool = False) -> None:
    """Write all that is logged in this process to `stream` from now on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(form, terminal=stream.isatty()))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)


def formatter(form: LogFormat, *, terminal: bool) -> logging.Formatter:
    """Return what makes a line of a record; colours are for a terminal alone."""
    as_json = form is LogFormat.JSON or (form is LogFormat.AUTO and not terminal)
    return _JsonLines() if as_json else _text(colors=terminal)


_BLANK = logging.makeLogRecord({}).__dict__
_OF_EVERY_RECORD = frozenset(_BLANK) | {"message", "asctime", "taskName"}
_LINE = "_llmux_line"
_JSON = json.JSONEncoder(default=repr)


@lru_cache(maxsize=2)
def _second(since_epoch: int) -> str:
    return datetime.fromtimestamp(since_epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _JsonLines(logging.Formatter):
    """Makes one JSON object of a record, once: stderr and the ring of the latest lines have the same."""

    def format(self, record: logging.LogRecord) -> str:
        line = record.__dict__.get(_LINE)
        if line is None:
            line = record.__dict__[_LINE] = _JSON.encode(self._fields(record))
        return str(line)

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        told: dict[str, object] = {
            **structlog.contextvars.get_contextvars(),
            "level": record.levelname.lower(),
            "logger": record.name,
            **{name: value for name, value in record.__dict__.items() if name not in _OF_EVERY_RECORD},
            "timestamp": f"{_second(int(record.created))}.{int(record.created % 1 * 1_000_000):06}Z",
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return told | {"message": record.getMessage()}


def tell(log: logging.Logger, level: int, message: str, fields: Mapping[str, object]) -> None:
    """Log a message with `fields`, for what each request tells: `logging` looks for its caller, thread and process too, which takes as long as all else."""
    if not log.isEnabledFor(level):
        return
    record = logging.LogRecord.__new__(logging.LogRecord)
    now = time.time()
    record.__dict__.update(_BLANK, name=log.name, levelno=level, levelname=logging.getLevelName(level))
    record.__dict__.update(fields, msg=message, args=(), created=now, msecs=now % 1 * 1000)
    log.handle(record)


def _text(*, colors: bool) -> logging.Formatter:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=0,
        sort_keys=False,
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
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
