"""`llmux checkpoints`: which there are, what is in them, whether they are whole; removing them, and what nobody needs."""

from __future__ import annotations

from collections.abc import Iterable

import click

from llmux.server import _words
from llmux.server._capacity import size
from llmux.server._cli_checkpoint_report import contents_of, made_of
from llmux.server._cli_client import CANNOT, asks_llmux, console, listed, print_json, run, table
from llmux.server._cli_progress import perform
from llmux.server._client import Client, Json, Target, path_of
from llmux.server._client_answers import (
    CheckpointEntry,
    Checkpoints,
    CheckpointShown,
    Contents,
    Missing,
    Pruned,
    Verified,
    read,
)
from llmux.server._printable import printable

_COLUMNS = ("name", "what", "size", "generation", "age", "sleeps with", "in use", "path or problem")


@click.group("checkpoints")
def checkpoints_command() -> None:
    """Look at checkpoints, and remove them."""


@checkpoints_command.command("list", short_help="List all checkpoints, and what nobody needs.")
@asks_llmux
def list_command(*, target: Target, as_json: bool) -> None:
    """List every replica's checkpoint, and what lies there that nobody needs."""
    answer = run(lambda client: client.get("/control/checkpoints"), target)
    if as_json:
        print_json(answer)
        return
    entries = read(Checkpoints, answer).checkpoints
    _print(entries) if entries else click.echo("there are no checkpoints")


@checkpoints_command.command("show", short_help="Show what is in a checkpoint, and what it needs.")
@click.argument("name")
@asks_llmux
def show_command(*, name: str, target: Target, as_json: bool) -> None:
    """Show how one replica's checkpoint was made, what is in it, what its restore needs and what of that is missing here; with --json all
    that it refers to and what its restore needs (docs/json.md).
    """  # noqa: D205 - click's help
    parts = ("control", "checkpoints", name)
    if as_json:
        print_json(run(lambda client: client.get(path_of(*parts, "report")), target))
        return

    async def inside(client: Client) -> tuple[Contents, Missing]:
        contents = read(Contents, await client.get(path_of(*parts, "report")))
        return contents, read(Missing, await client.get(path_of(*parts, "missing")))

    shown = read(CheckpointShown, run(lambda client: client.get(path_of(*parts)), target))
    console().print(listed(made_of(shown)))
    if shown.kind == "published":
        console().print(listed(contents_of(*run(inside, target))))


@checkpoints_command.command("verify")
@click.argument("name")
@asks_llmux
def verify_command(*, name: str, target: Target, as_json: bool) -> None:
    """Compare every byte of a checkpoint with its manifest. Exit code 1 where it is damaged."""

    async def ask(client: Client) -> Json:
        return await perform(client, name, path_of("control", "checkpoints", name, "verify"), {})

    answer = run(ask, target)
    told = read(Verified, answer)
    if as_json:
        print_json(answer)
    else:
        verdict = "whole" if told.sound else f"damaged: {told.fault}"
        click.echo(printable(f"{told.name}, {told.generation}: {verdict} ({told.seconds:.2f} s)"))
    raise SystemExit(0 if told.sound else CANNOT)


@checkpoints_command.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks_llmux
def delete_command(*, name: str, yes: bool, target: Target, as_json: bool) -> None:
    """Remove a checkpoint. A model that sleeps in it starts cold."""
    if not yes:
        click.confirm(f"Remove the checkpoint of {printable(name)}?", abort=True)
    answer = run(lambda client: client.delete(path_of("control", "checkpoints", name)), target)
    print_json(answer) if as_json else click.echo(printable(f"{name}: removed"))


@checkpoints_command.command("prune", short_help="Remove what nobody needs.")
@click.option("--dry-run", is_flag=True, help="Remove nothing, and say what would be.")
@asks_llmux
def prune_command(*, dry_run: bool, target: Target, as_json: bool) -> None:
    """Remove what nobody needs: checkpoints of models that are configured no longer, and half-made ones."""

    async def ask(client: Client) -> Json:
        return await perform(client, "checkpoints", "/control/checkpoints/prune", {"dry_run": dry_run})

    answer = run(ask, target)
    if as_json:
        print_json(answer)
        return
    told = read(Pruned, answer)
    click.echo(f"{'would be removed' if told.dry_run else 'removed'}: {_in_all(told.removed)}")
    _print((*told.removed, *told.kept))


def _in_all(entries: tuple[CheckpointEntry, ...]) -> str:
    return f"{len(entries)}, {size(sum(each.bytes or 0 for each in entries))}"


def _print(entries: Iterable[CheckpointEntry]) -> None:
    rows = [
        [
            each.name,
            _words.CHECKPOINTS.get(each.kind, each.kind),
            "" if each.bytes is None else size(each.bytes),
            "" if each.generation is None else str(each.generation),
            "" if each.age_seconds is None else _words.age(each.age_seconds),
            _words.depth(each.eviction.weights, each.eviction.process) if each.eviction else "",
            _words.USES.get(each.use, each.use),
            each.problem.message if each.problem else each.path or "",
        ]
        for each in entries
    ]
    if rows:
        console().print(table(_COLUMNS, rows))
