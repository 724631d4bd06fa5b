"""`finish`: the restored tree is well."""

from __future__ import annotations

import json
from pathlib import Path

import click

from llmux.criu_images._cli_write import DIRECTORY, JOURNAL, JSON, ROOT
from llmux.criu_images._finish import finish as finish_restore
from llmux.criu_images._paths import escape
from llmux.criu_images._words import counted


@click.command()
@DIRECTORY
@ROOT
@JOURNAL
@JSON
def finish(directory: Path, root: Path, journal: Path | None, *, as_json: bool) -> None:
    """Settle what rebuild made.

    For after a restore whose program is well: the journal is forgotten, so no undo takes anything back any more. What was made and is still
    there is listed.
    """
    finished = finish_restore(directory, root=root, journal=journal)
    if as_json:
        click.echo(json.dumps({"remaining": list(map(escape, finished.remaining))}, indent=2))
        return
    for path in finished.remaining:
        click.echo(f"remains  {escape(path)}")
    count = len(finished.remaining)
    click.echo(f"{counted(count, 'path')} made for the restore remain{'s' if count == 1 else ''}")
