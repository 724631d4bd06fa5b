"""`capture`, `plan`, `rebuild`, `undo` and `verify`: the commands around a dump and a restore."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from llmux.criu_images import _rebuild
from llmux.criu_images._actions import Plan, verb_of
from llmux.criu_images._capture import capture as capture_dump
from llmux.criu_images._cli_json import json_options
from llmux.criu_images._cli_progress import shown_progress
from llmux.criu_images._compare import Likeness
from llmux.criu_images._counted import counted
from llmux.criu_images._paths import escape
from llmux.criu_images._policy import AT_CAPTURE, AT_REBUILD
from llmux.criu_images._policy_file import chosen_policy
from llmux.criu_images._report_written import (
    render_manifest_json,
    render_plan_json,
    render_undone_json,
)
from llmux.criu_images._undo import Undone
from llmux.criu_images._verify import open_to_all
from llmux.criu_images._verify import verify as verify_dump
from llmux.criu_images._words import human_size
from llmux.criu_images.errors import ExitCode, RebuildRefused, UndoIncomplete
from llmux.criu_images.manifest import CaptureCost, Manifest

_CommandT = TypeVar("_CommandT", bound=Callable[..., object])

DIRECTORY = click.argument(
    "directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
ROOT = click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/"),
    show_default=True,
    help="Take all paths below this directory.",
)
JOURNAL = click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The journal's file, instead of one in /run/llmux/journals.",
)


def _rules(example: str) -> Callable[[_CommandT], _CommandT]:
    text = f"A rule, such as {example}; the first that fits decides. See docs/manifest.md."
    return click.option("--policy", "rules", multiple=True, metavar="RULE", help=text)


_RULES_HERE = _rules("'mask change=grown path=/var/log/**' or 'keep path=/etc/**'")


@click.command()
@DIRECTORY
@ROOT
@click.option(
    "--container-started",
    type=float,
    metavar="SECONDS",
    help="When the container was created, since 1970; else it is found out.",
)
@_rules("'leave path=/var/cache/**' or 'carry origin=image size<=16M'")
@click.option("--again", is_flag=True, help="Replace the capture of this dump that DIR has already.")
@json_options("capture")
def capture(  # noqa: PLR0913 - click's way: one for each option
    directory: Path,
    root: Path,
    container_started: float | None,
    rules: tuple[str, ...],
    *,
    again: bool,
    as_json: bool,
) -> None:
    """Copy into DIR what a fresh container lacks.

    Run it after the dump while the tree is still frozen, in its mount namespace: CRIU's stage post-dump, at which llmux-criu-hook does this.
    """
    started = None if container_started is None else int(container_started * 10**9)
    policy = chosen_policy(rules, AT_CAPTURE)
    with shown_progress() as progress:
        manifest = capture_dump(
            directory, root=root, container_started_ns=started, again=again, policy=policy, progress=progress
        )
    _tell_manifest(manifest, as_json=as_json)


@click.command()
@DIRECTORY
@ROOT
@_RULES_HERE
@json_options("plan")
def plan(directory: Path, root: Path, rules: tuple[str, ...], *, as_json: bool) -> None:
    """Say what rebuild would do; change nothing.

    Here and now: run it in the mount and PID namespace of the restore. What stands in its way is listed, each with what to do.
    """
    policy = chosen_policy(rules, AT_REBUILD)
    with shown_progress() as progress:
        made = _rebuild.plan(directory, root=root, policy=policy, progress=progress)
    _tell_plan(made, as_json=as_json)
    if made.conflicts:
        sys.exit(ExitCode.CONFLICTS)


@click.command()
@DIRECTORY
@ROOT
@JOURNAL
@_RULES_HERE
@json_options("plan")
def rebuild(
    directory: Path, root: Path, journal: Path | None, rules: tuple[str, ...], *, as_json: bool
) -> None:
    """Make what the dump needs and lacks here.

    Nothing that exists is changed. With conflicts nothing is made. A journal says what was, for undo.
    """
    policy = chosen_policy(rules, AT_REBUILD)
    try:
        with shown_progress() as progress:
            made = _rebuild.rebuild(directory, root=root, journal=journal, policy=policy, progress=progress)
    except RebuildRefused:
        if as_json:  # the same form as without conflicts; the text goes to stderr
            _tell_plan(_rebuild.plan(directory, root=root, journal=journal, policy=policy), as_json=True)
        raise
    _tell_plan(made, as_json=as_json)


@click.command()
@DIRECTORY
@ROOT
@JOURNAL
@json_options("undo")
def undo(directory: Path, root: Path, journal: Path | None, *, as_json: bool) -> None:
    """Take back what rebuild made.

    What somebody has changed since, or has in use, stays and is listed, and the exit code is 3. It is yours from then on: the journal is
    forgotten, and no later undo takes it back. Not for use under a tree that was restored from it.
    """
    undone = _rebuild.undo(directory, root=root, journal=journal)
    _tell_undone(undone, as_json=as_json)
    if undone.left:
        raise UndoIncomplete(tuple(one.path for one in undone.left))


def _open_descriptor(_context: click.Context, _option: click.Parameter, fd: int | None) -> int | None:
    if fd is not None:
        try:
            os.fstat(fd)
        except OSError as error:
            raise click.BadParameter(f"{fd} is no open file descriptor: {error.strerror}") from error
    return fd


@click.command()
@DIRECTORY
@click.option(
    "--status-fd",
    type=click.IntRange(min=0),
    callback=_open_descriptor,
    metavar="FD",
    help="Write how far it is to this open file descriptor, a JSON object a line.",
)
@json_options("capture")
def verify(directory: Path, *, as_json: bool, status_fd: int | None) -> None:
    """Check images and side files by the manifest.

    That every user may write to DIR is a warning here; plan and rebuild refuse it.
    """
    with shown_progress(status_fd) as progress:
        manifest = verify_dump(directory, progress=progress)
    _tell_manifest(manifest, *map(str, open_to_all(directory)), as_json=as_json)


def _tell_manifest(manifest: Manifest, *found_now: str, as_json: bool) -> None:
    warnings = [*manifest.warnings, *found_now]
    carried = [file for file in manifest.files if file.carried is not None]
    if as_json:
        click.echo(render_manifest_json(manifest, warnings))
        return
    for file in carried:
        click.echo(f"carried  {'  '.join(map(escape, file.names))}  ({file.reason})")
    for warning in warnings:
        click.echo(f"warning  {warning}")
    click.echo(
        f"{len(carried)} of {counted(len(manifest.files), 'file')} carried, {counted(len(manifest.images), 'image')}"
    )
    if manifest.nvidia is not None:
        click.echo(f"NVIDIA driver {manifest.nvidia}: of the node, neither carried nor rebuilt")
    if manifest.cost is not None:
        click.echo(_told_cost(manifest.cost))


def _told_cost(cost: CaptureCost) -> str:
    carried = f"{human_size(cost.data_bytes)} carried in {cost.microseconds / 1e6:.2f} s"
    if cost.saved_bytes is None:
        return f"{carried}; the whole difference to the image is {cost.difference_known_by}"
    whole = f"the whole difference to the image is {human_size(cost.difference_bytes or 0)}"
    return f"{carried}; {human_size(cost.saved_bytes)} saved: {whole} ({cost.difference_known_by})"


def _tell_plan(made: Plan, *, as_json: bool) -> None:
    if as_json:
        click.echo(render_plan_json(made))
        return
    for action in made.actions:
        click.echo(f"{verb_of(action)}  {escape(action.path)}  ({action.reason})")
    for conflict in made.conflicts:
        click.echo(f"conflict  {conflict}")
    for warning in made.warnings:
        click.echo(f"warning  {warning}")
    if made.compared:
        click.echo(_told_comparisons(made))
    click.echo(f"{counted(len(made.actions), 'action')}, {counted(len(made.conflicts), 'conflict')}")


def _told_comparisons(made: Plan) -> str:
    counts = Counter(one.likeness for one in made.compared)
    parts = ", ".join(f"{counts[likeness]} {likeness.value}" for likeness in Likeness if counts[likeness])
    return f"{counted(len(made.compared), 'file')} that must be here: {parts}"


def _tell_undone(undone: Undone, *, as_json: bool) -> None:
    if as_json:
        click.echo(render_undone_json(undone))
        return
    for path in undone.removed:
        click.echo(f"removed  {escape(path)}")
    for one in undone.left:
        click.echo(f"left  {escape(one.path)}  ({one.why})")
    click.echo(f"{len(undone.removed)} removed, {len(undone.left)} left")
