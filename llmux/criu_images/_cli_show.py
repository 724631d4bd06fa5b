"""`show`: what a dump refers to and what a restore needs, whole or as an answer to one question."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from llmux.criu_images._cli_json import json_options
from llmux.criu_images._cli_manifest import manifest_beside
from llmux.criu_images._cli_tables import write_lines, write_tables
from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import Inventory, take_inventory
from llmux.criu_images._paths import RawPath, unescape
from llmux.criu_images._records import Dump
from llmux.criu_images._report import tables_of
from llmux.criu_images._report_json import json_lines
from llmux.criu_images._report_tree import render_tree, render_tree_json
from llmux.criu_images._report_why import render_why, render_why_json
from llmux.criu_images._sections import Section, sections_of
from llmux.criu_images._why import Why, explain_path, plain_path
from llmux.criu_images.errors import ExitCode

_QUESTIONS = {"why": "show-why", "tree": "show-tree", "missing": "show-missing"}


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--kind", type=click.Choice([section.value for section in Section]), help="Show one section only."
)
@click.option("--why", metavar="PATH", help="Say who refers to PATH, and what a restore does there.")
@click.option("--tree", is_flag=True, help="Show the processes as a tree, with what each holds.")
@click.option("--missing", is_flag=True, help="Show only the paths that are not here.")
@click.option("--paths0", is_flag=True, help="Write the raw paths alone, each ended by a NUL byte.")
@json_options("show", _QUESTIONS)
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    show_default=True,
    help="Where --missing looks.",
)
def show(  # noqa: PLR0913 - one parameter for each option
    directory: Path,
    kind: str | None,
    why: str | None,
    root: Path,
    *,
    tree: bool,
    missing: bool,
    paths0: bool,
    as_json: bool,
) -> None:
    """Show who refers to what, and what a restore needs.

    --why and --missing exit with 3 where nothing refers to PATH, and where something is missing. PATH may be the text that llmux or CRIU
    prints: with escapes, without its first slash.
    """
    asked = {"--why": why is not None, "--tree": tree, "--missing": missing}
    _check_options(asked, kind=kind is not None, paths0=paths0, as_json=as_json)
    dump = read_dump(directory)
    inventory = take_inventory(dump)
    only = None if kind is None else Section(kind)
    if why is not None:
        _show_why(directory, dump, inventory, why, as_json=as_json)
    elif missing:
        _show_missing(directory, inventory, root, paths0=paths0, as_json=as_json)
    elif tree:
        click.echo(render_tree_json(dump, inventory) if as_json else render_tree(dump, inventory))
    elif paths0:
        shown = (item.path for item in inventory.paths if only is None or only in sections_of(item))
        _write_paths(dict.fromkeys(shown))
    elif as_json:
        write_lines(json_lines(dump, inventory, only), sys.stdout)
    else:
        write_tables(tables_of(dump, inventory, only))


def _check_options(asked: dict[str, bool], *, kind: bool, paths0: bool, as_json: bool) -> None:
    questions = [name for name, given in asked.items() if given]
    if len(questions) > 1:
        raise click.UsageError(f"{' and '.join(questions)} ask different questions: give one of them.")
    if questions and kind:
        raise click.UsageError(f"--kind does not go with {questions[0]}.")
    if paths0 and (as_json or questions not in ([], ["--missing"])):
        raise click.UsageError("--paths0 goes with --kind or --missing alone.")


def _write_paths(paths: dict[RawPath, None]) -> None:
    click.echo(b"".join(path + b"\0" for path in paths), nl=False)


def _show_why(directory: Path, dump: Dump, inventory: Inventory, typed: str, *, as_json: bool) -> None:
    found = _explain(dump, inventory, typed)
    ours: tuple[str, ...] | None = None
    manifest = manifest_beside(directory)
    if manifest is not None:
        from llmux.criu_images._why_ours import treatments  # noqa: PLC0415 - pydantic takes its time

        ours = treatments(manifest, found.path)
    click.echo(render_why_json(found, ours) if as_json else render_why(dump, inventory, found, ours))
    if not found.referred_to:
        sys.exit(ExitCode.CONFLICTS)


def _explain(dump: Dump, inventory: Inventory, typed: str) -> Why:
    """Take PATH literally; where nothing refers to that, as the escaped text that is printed for it."""
    why = explain_path(dump, inventory, plain_path(os.fsencode(typed)))
    if why.referred_to or "\\" not in typed:
        return why
    try:
        meant = plain_path(unescape(typed))
    except ValueError:
        return why
    return explain_path(dump, inventory, meant)


def _show_missing(directory: Path, inventory: Inventory, root: Path, *, paths0: bool, as_json: bool) -> None:
    from llmux.criu_images._missing import find_missing  # noqa: PLC0415 - pydantic takes its time
    from llmux.criu_images._report_missing import render_missing, render_missing_json  # noqa: PLC0415

    found = find_missing(inventory, manifest_beside(directory), root)
    if paths0:
        _write_paths(dict.fromkeys(item.path for item in found))
    else:
        click.echo((render_missing_json if as_json else render_missing)(found))
    if found:
        sys.exit(ExitCode.CONFLICTS)
