"""`python -m llmux.server`, and what the console script `llmux` calls."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


# First of all: a container's first process has no default for these, so that `docker stop` in the half second that the
# imports take would have to wait for its SIGKILL.
for _number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(_number, _end)
# Nothing has been read yet that could be read anew.
signal.signal(signal.SIGHUP, signal.SIG_IGN)

from llmux.server._cli import cli  # noqa: E402 - see above


def main() -> None:
    """Run the command line."""
    cli(prog_name="llmux")


if __name__ == "__main__":
    main()
