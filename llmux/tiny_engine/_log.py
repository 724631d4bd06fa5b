"""One log of both processes: standard error, for whoever started them, and a file that both open with O_APPEND.

The file is one of the things that a checkpoint of this engine shows: an open log in a place that a fresh container lacks.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import SimpleQueue

_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


def log_to_file(path: Path) -> None:
    """Send this process's log to `path` and to standard error from here on."""
    for handler in _handlers(path):
        _root().addHandler(handler)


@contextmanager
def log_from_loop(path: Path) -> Iterator[None]:
    """Log without ever blocking the event loop: a thread that waits on a queue does the writing."""
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    file, output = _handlers(path)
    listener = QueueListener(queue, file, output)
    handler = QueueHandler(queue)
    _root().addHandler(handler)
    listener.start()
    try:
        yield
    finally:
        _root().removeHandler(handler)
        listener.stop()
        file.close()


def _root() -> logging.Logger:
    logger = logging.getLogger("llmux.tiny_engine")
    logger.setLevel(logging.INFO)
    return logger


def _handlers(path: Path) -> tuple[logging.Handler, logging.Handler]:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(path, mode="a", encoding="utf-8")
    output = logging.StreamHandler(sys.stderr)
    for handler in (file, output):
        handler.setFormatter(logging.Formatter(_FORMAT))
    return file, output
