"""What the commands share that ask a running llmux: their options, their exit codes, and how a table looks.

Exit codes: 0 done; 1 llmux says that it cannot; 2 wrong use; 3 llmux cannot be reached; 130 interrupted.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import reduce, wraps
from typing import NoReturn, TextIO, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmux.server._client import DEFAULT_HOST, Client, NotReached, Target
from llmux.server._printable import printable
from llmux.server.errors import ServerError

CANNOT = 1
WRONG_USE = 2
NOT_REACHED = 3
INTERRUPTED = 130
_PLAIN_WIDTH = 240
"""Columns of a table that goes into a file or a pipe."""

_TITLE_WIDTH = 18
"""Columns of a title, so that one list below another is in line with it."""

_Result = TypeVar("_Result")


def asks_llmux(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--host` and `--token`, which it gets as one `target`, and `--json`."""

    @wraps(command)
    def with_target(*, host: str, token: str | None, **others: object) -> None:
        try:
            target = Target.of(host, token or None)
        except ValueError as error:
            raise click.BadParameter(f"{host!r}: {error}", param_hint="--host") from error
        command(target=target, **others)

    options = (
        click.option(
            "--host",
            default=DEFAULT_HOST,
            envvar="LLMUX_HOST",
            show_default=True,
            show_envvar=True,
            help="Where llmux is: HOST:PORT, a URL, or unix:PATH.",
        ),
        click.option(
            "--token",
            envvar="LLMUX_TOKEN",
            show_envvar=True,
            help="What lets us in; others see an option in `ps`, the variable they do not.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print it for programs."),
    )
    return reduce(lambda made, option: option(made), reversed(options), with_target)


def run(work: Callable[[Client], Coroutine[None, None, _Result]], target: Target) -> _Result:
    """Do something with a client of `target`; exits where that fails."""
    try:
        return asyncio.run(_with_client(work, target))
    except NotReached as error:
        fail(NOT_REACHED, error)
    except ServerError as error:
        fail(CANNOT, error)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


async def _with_client(work: Callable[[Client], Awaitable[_Result]], target: Target) -> _Result:
    async with Client(target) as client:
        return await work(client)


def fail(code: int, error: ServerError) -> NoReturn:
    """Say what went wrong, and exit."""
    click.echo(f"llmux: {printable(str(error), keep=chr(10))}", err=True)
    raise SystemExit(code)


def print_json(answer: object) -> None:
    """Print a value for programs."""
    click.echo(json.dumps(answer, indent=2))


def console(file: TextIO | None = None) -> Console:
    """Return where people read: as wide as their terminal, or wide enough where there is none."""
    file = file or sys.stdout
    width = None if file.isatty() else _PLAIN_WIDTH
    return Console(file=file, highlight=False, markup=False, emoji=False, width=width)


def listed(rows: Iterable[tuple[str, str]]) -> Table:
    """Return titles with a line each, in two columns; long lines are folded, never cut."""
    made = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(min_width=_TITLE_WIDTH, no_wrap=True)
    made.add_column(overflow="fold")
    for title, line in rows:
        made.add_row(Text(printable(title)), Text(printable(line)))
    return made


def table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    """Return a table without lines; what is longer than its column is folded, never cut."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(each if isinstance(each, Text) else Text(printable(each)) for each in row))
    return made
