"""`finish`: the restored tree is well."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import NoReturn

import click

from llmux.criu_images._cli_json import json_options
from llmux.criu_images._cli_write import DIRECTORY, JOURNAL, ROOT
from llmux.criu_images._counted import counted
from llmux.criu_images._finish import Finished
from llmux.criu_images._finish import finish as finish_restore
from llmux.criu_images._hold import Held
from llmux.criu_images._paths import RawPath, escape

VERSION = 1

_FIRST_FD = 3
_HEAD = 2048


@click.command()
@DIRECTORY
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@ROOT
@JOURNAL
@json_options("finish")
def finish(
    directory: Path, command: tuple[str, ...], root: Path, journal: Path | None, *, as_json: bool
) -> None:
    """Settle what rebuild made.

    For after a restore whose program is well: the journal is forgotten, so no undo takes anything back any more. What was made and is still
    there is listed, and what was sent to peers outside the dump while their sockets were held.

    With COMMAND (after --) the held sockets go to that program, as systemd passes them (LISTEN_FDS), and so does what was sent to them before.
    """
    finished = finish_restore(directory, root=root, journal=journal, hand_over=bool(command))
    if as_json:
        click.echo(json.dumps(_as_json(finished), indent=2))
    else:
        _tell(finished)
    if command:
        _hand_over(command, finished.sockets)


def _tell(finished: Finished) -> None:
    for held in finished.held:
        click.echo(
            f"held  {escape(held.name)}  {counted(held.messages, 'message')}, {counted(held.size, 'byte')}"
        )
        for message in _head(held):
            click.echo(f"  {escape(RawPath(message))}")
    if finished.left:
        click.echo(f"The holder had left by itself: {finished.left}")
    for path in finished.remaining:
        click.echo(f"remains  {escape(path)}")
    count = len(finished.remaining)
    click.echo(f"{counted(count, 'path')} made for the restore remain{'s' if count == 1 else ''}")


def _head(held: Held) -> list[bytes]:
    """Return the first messages, as much as a person looks at."""
    head: list[bytes] = []
    for message in held.kept:
        if sum(map(len, head)) + len(message) > _HEAD:
            break
        head.append(message)
    return head


def _as_json(finished: Finished) -> dict[str, object]:
    held = [
        {
            "name": escape(one.name),
            "messages": one.messages,
            "bytes": one.size,
            "with_descriptors": one.with_descriptors,
            "replayed": one.replayed,
            "head": [escape(RawPath(message)) for message in _head(one)],
        }
        for one in finished.held
    ]
    remaining = list(map(escape, finished.remaining))
    return {"version": VERSION, "remaining": remaining, "held": held, "left": finished.left}


def _hand_over(command: tuple[str, ...], sockets: tuple[socket.socket, ...]) -> NoReturn:
    """Become the program, with the sockets from descriptor 3 on (sd_listen_fds(3)). Raises UsageError, OSError."""
    if not sockets:
        raise click.UsageError(f"no socket is held, so {command[0]} was not started; the restore is finished")
    high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD + len(sockets)) for one in sockets]
    for number, fd in enumerate(high, _FIRST_FD):
        os.dup2(fd, number)
    environment = {**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_PID": str(os.getpid())}
    os.execvpe(command[0], command, environment)  # noqa: S606 - the user's program and arguments
