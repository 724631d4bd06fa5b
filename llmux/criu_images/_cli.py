"""The group of commands behind `python -m llmux.criu_images`, and how they end."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

import click

from llmux.criu_images.errors import CriuImagesError, ExitCode

_MODULES = {
    "show": "_cli_show",
    "graph": "_cli_read",
    "stats": "_cli_stats",
    "diff": "_cli_stats",
    "explain": "_cli_explain",
    "capture": "_cli_write",
    "plan": "_cli_write",
    "rebuild": "_cli_write",
    "undo": "_cli_write",
    "finish": "_cli_finish",
    "verify": "_cli_write",
}
"""Where each command lives; imported when it is asked for, so that none waits for what only another needs."""


_EXIT_CODES = """\b
Exit codes:
  0  fine
  2  wrong use, captured already, a package is missing, or the journal or what it needs of /proc is out of reach
  3  conflicts: the dump can't be restored here, each says what to do; or undo has left something
  4  the images, or what was captured beside them, are damaged or not ours
"""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(import_module(f"llmux.criu_images.{_MODULES[cmd_name]}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"max_content_width": 110}, epilog=_EXIT_CODES)
@click.version_option(package_name="llmux", prog_name="llmux")
def cli() -> None:
    """Say what a CRIU dump needs of a container, and bring it along.

    DIR is a directory of CRIU images, as `criu dump --images-dir DIR` writes it. show, graph, stats, diff and explain's --images take a
    checkpoint archive of podman or CRI-O as well, plain or packed by gzip or zstd.
    """


def main() -> NoReturn:
    """Run a command; report an error once, on stderr, and exit with its code."""
    if isinstance(sys.stdout, TextIOWrapper):  # A terminal that can't show a character gets its number.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        cli.main(prog_name=_program_name(), standalone_mode=False)
    except CriuImagesError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(ExitCode.WRONG_USE)
    except click.ClickException as error:
        _fail(error.format_message(), ExitCode.WRONG_USE)
    except BrokenPipeError:  # whoever reads what we print has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.FINE)
    except OSError as error:
        _fail(str(error), ExitCode.WRONG_USE)
    except click.Abort:
        _fail("interrupted", 130)
    sys.exit(ExitCode.FINE)


def _program_name() -> str:
    """Return what we were called as; the shell completion's variable is named after it."""
    called = os.path.basename(sys.argv[0])  # noqa: PTH119 - a name, not a path
    return called if called == "llmux-criu-images" else "python -m llmux.criu_images"


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)
