"""`explain`: what a log of CRIU says."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import click

from llmux.criu_images._cli_json import json_options
from llmux.criu_images._explain import LONGEST_LINE, Explanation, Outcome, explain_log
from llmux.criu_images._paths import escape
from llmux.criu_images._report_explain import render_explanation, render_explanation_json, render_messages
from llmux.criu_images.errors import CriuImagesError, ExitCode

_EXIT_CODES = {
    Outcome.SUCCEEDED: ExitCode.FINE,
    Outcome.QUIET: ExitCode.FINE,
    Outcome.FAILED: ExitCode.CONFLICTS,
    Outcome.UNFINISHED: ExitCode.CONFLICTS,
    Outcome.FOREIGN: ExitCode.DAMAGED,
}


@click.command()
@click.argument(
    "logfile",
    metavar="LOGFILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    required=False,
)
@click.option(
    "--images",
    type=click.Path(exists=True, path_type=Path),
    help="The dump's images, a directory or an archive, to name who uses what the log speaks of; by default LOGFILE's own directory, if they are there.",
)
@json_options("explain")
@click.option("--list", "list_all", is_flag=True, help="List every message that is known, as Markdown.")
def explain(logfile: str | None, images: Path | None, *, as_json: bool, list_all: bool) -> None:
    """Say which demand failed in a log of CRIU (restore.log or dump.log; `-` for standard input), and what mends it.

    The exit code is 0 where the log shows success or names no failure, 3 where it names one or ends too early, 4 where it is no log of CRIU.
    """
    if list_all:
        click.echo(render_messages())
        return
    if logfile is None:
        raise click.UsageError("Missing argument 'LOGFILE'.")
    with click.open_file(logfile, "rb") as file:
        found = explain_log(_lines(cast("BinaryIO", file)))
    render = render_explanation_json if as_json else render_explanation
    click.echo(render(_shown(logfile), found, _referrers(found, logfile, images)))
    sys.exit(_EXIT_CODES[found.outcome])


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Give lines of bounded length, whatever the file is."""
    return iter(lambda: file.readline(LONGEST_LINE), b"")


def _shown(logfile: str) -> str:
    return "standard input" if logfile == "-" else escape(os.fsencode(logfile))


def _referrers(found: Explanation, logfile: str, images: Path | None) -> tuple[str, ...]:
    if found.cause is None:
        return ()
    beside = Path(logfile).parent
    if images is None and (logfile == "-" or not (beside / "inventory.img").is_file()):
        return ()
    from llmux.criu_images._dump import read_dump  # noqa: PLC0415 - only where there are images
    from llmux.criu_images._explain_images import referrers  # noqa: PLC0415
    from llmux.criu_images._inventory import take_inventory  # noqa: PLC0415

    try:
        dump = read_dump(images or beside)
    except CriuImagesError:
        if images is not None:
            raise
        return ()  # the log is explained all the same
    return referrers(found.cause, dump, take_inventory(dump))
