"""One log of both processes, opened with O_APPEND; what is a warning or worse goes to standard error too."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import SimpleQueue

_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


def log_to_file(path: Path) -> None:
    """Send this process's log to `path` from here on."""
    for handler in _handlers(path):
        _root().addHandler(handler)


@contextmanager
def log_from_loop(path: Path) -> Iterator[None]:
    """Log without ever blocking the event loop: a thread that waits on a queue does the writing."""
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    listener = QueueListener(queue, *_handlers(path), respect_handler_level=True)
    handler = QueueHandler(queue)
    _root().addHandler(handler)
    listener.start()
    try:
        yield
    finally:
        _root().removeHandler(handler)
        listener.stop()


def _root() -> logging.Logger:
    logger = logging.getLogger("llmux.tiny_engine")
    logger.setLevel(logging.INFO)
    return logger


def _handlers(path: Path) -> tuple[logging.Handler, logging.Handler]:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(path, mode="a", encoding="utf-8")
    errors = logging.StreamHandler(sys.stderr)
    errors.setLevel(logging.WARNING)
    for handler in (file, errors):
        handler.setFormatter(logging.Formatter(_FORMAT))
    return file, errors
