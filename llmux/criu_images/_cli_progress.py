"""A bar on stderr for what takes long; nothing where stderr is no terminal. Lines for a program that asks for them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from llmux.criu_images._paths import escape
from llmux.criu_images._progress import Listener, Phase, Progress, ignore

TYPE_CHECKING = False
"""`typing.TYPE_CHECKING`, without the import."""

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_BETWEEN_LINES = 0.1
"""Seconds."""
_WORTH_A_BAR = 32 << 20
"""Bytes of a phase below which it is over before one could read what the bar says."""


@contextmanager
def shown_progress(status_fd: int | None = None) -> Iterator[Listener]:
    """Give a listener that draws a bar for each long phase, and wipe it at the end; with `status_fd` one that writes lines there."""
    if status_fd is not None:
        yield _Lines(status_fd).tell
        return
    if not sys.stderr.isatty():
        yield ignore
        return
    screen = _Screen()
    try:
        yield screen.show
    finally:
        screen.close()


class _Lines:
    """Whoever reads the other end: a JSON object a line, each phase's last one always among them."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._next = 0.0

    def tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next and progress.done_files < progress.total_files:
            return
        self._next = now + _BETWEEN_LINES
        told = {
            "phase": progress.phase.value,
            "done_bytes": progress.done_bytes,
            "total_bytes": progress.total_bytes,
            "done_files": progress.done_files,
            "total_files": progress.total_files,
        }
        os.write(self._fd, json.dumps(told).encode() + b"\n")


class _Screen:
    """The terminal, whose library is loaded when there is something to show."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._tasks: dict[Phase, TaskID] = {}

    def show(self, progress: Progress) -> None:
        if progress.total_bytes < _WORTH_A_BAR:
            return
        if self._bars is None:
            self._bars = _make_bars()
            self._bars.start()
        if progress.phase not in self._tasks:
            self._tasks[progress.phase] = self._bars.add_task(
                progress.phase.value, total=progress.total_bytes, path=""
            )
        self._bars.update(
            self._tasks[progress.phase], completed=progress.done_bytes, path=escape(progress.path)
        )

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()


def _make_bars() -> Bars:
    from rich import progress as rich_progress  # noqa: PLC0415 - takes longer than most of what it would show
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    return rich_progress.Progress(
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(bar_width=20),
        rich_progress.DownloadColumn(binary_units=True),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn(
            "{task.fields[path]}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
