"""`llmux status`: what /control/status says as a table, once or for as long as one looks."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from functools import partial

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from llmux.server import _words
from llmux.server._capacity import size
from llmux.server._cli_client import asks_llmux, console, print_json, run, table
from llmux.server._client import Client, NotReached, Target
from llmux.server._client_answers import Checkpoint, Gpu, Model, Replica, Status, Wake, read
from llmux.server._printable import printable

_COLUMNS = (
    "model",
    "state",
    "for",
    "being answered",
    "waiting",
    "sleeps with",
    "last wake",
    "checkpoint",
    "problem",
)
_STYLES = {"running": "green", "failed": "bold red", "asleep": "blue", "not_started": "dim"}
_MOVING = "yellow"


@click.command("status")
@click.option("--watch", is_flag=True, help="Go on until interrupted; with --json, an object a line.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    help="Seconds, with --watch.",
)
@asks_llmux
def status_command(*, watch: bool, interval: float, target: Target, as_json: bool) -> None:
    """Say how every model is, and what of the node is taken."""
    if watch:
        run(lambda client: _watch(client, interval, as_json=as_json), target)
        return
    answer = run(lambda client: client.get("/control/status"), target)
    print_json(answer) if as_json else console().print(_told(read(Status, answer), datetime.now(UTC)))


async def _watch(client: Client, interval: float, *, as_json: bool) -> None:
    """Show it again and again; an llmux that is away for a while is waited for."""
    terminal = console()
    with Live(console=terminal, auto_refresh=False, screen=terminal.is_terminal and not as_json) as live:
        show = partial(live.update, refresh=True) if terminal.is_terminal else terminal.print
        while True:
            try:
                answer = await client.get("/control/status")
            except NotReached as error:
                if as_json:
                    raise
                show(Text(printable(str(error)), style="bold red"))
            else:
                if as_json:
                    sys.stdout.write(f"{json.dumps(answer)}\n")
                    sys.stdout.flush()
                else:
                    show(_told(read(Status, answer), datetime.now(UTC)))
            await asyncio.sleep(interval)


def _told(status: Status, now: datetime) -> RenderableType:
    rows = [row for name, model in status.models.items() for row in _rows(name, model, now)]
    lines = (_node(status), *(_gpu(gpu, status) for gpu in status.node.gpus))
    return Group(table(_COLUMNS, rows), Text(), *(Text(printable(line)) for line in lines))


def _rows(name: str, model: Model, now: datetime) -> list[list[str | Text]]:
    orders = f"{', pinned' if model.pinned else ''}{', drained' if model.draining else ''}"
    rows = [_row(name, model, str(model.held), now, orders)]
    if len(model.replicas) > 1:
        rows += [_row(f"  {replica}", told, "", now) for replica, told in model.replicas.items()]
    return rows


def _row(name: str, replica: Replica, held: str, now: datetime, orders: str = "") -> list[str | Text]:
    """`orders` is what somebody has said by hand of the model."""
    wake, checkpoint = replica.last_wake, replica.checkpoint
    problems = (each.message for each in (replica.problem, replica.checkpoint_problem) if each)
    return [
        name,
        Text(printable(_how(replica) + orders), style=_STYLES.get(replica.state, _MOVING)),
        _ago(replica.since, now),
        str(replica.in_flight),
        held,
        _words.depth(replica.eviction.weights, replica.eviction.process),
        _woken(wake) if wake else "",
        _stored(checkpoint, now) if checkpoint else "",
        "; ".join(problems),
    ]


def _how(replica: Replica) -> str:
    state = _words.state(replica.state)
    return f"{state} ({_words.phase(replica.phase)})" if replica.phase else state


def _woken(wake: Wake) -> str:
    told = f"{_words.wake(wake.kind)} in {_words.duration(wake.seconds)}"
    return f"{told}: {wake.reason}" if wake.reason else told


def _stored(checkpoint: Checkpoint, now: datetime) -> str:
    return f"{size(checkpoint.bytes)}, {_ago(checkpoint.created_at, now)} old"


def _node(status: Status) -> str:
    node = status.node
    parts = [f"the policy {node.policy} decides who is awake" if node.mode == "auto" else _words.MANUAL]
    if node.draining:
        parts.append(_words.DRAINED)
    for what, there in node.capacity.items():
        taken = node.held.get(what, 0)
        amounts = f"{taken} of {there}" if what == "awake" else f"{size(taken)} of {size(there)}"
        if not what.startswith("exclusive"):
            parts.append(f"{_words.resource(what)} {amounts}")
    return "; ".join(parts)


def _gpu(gpu: Gpu, status: Status) -> str:
    if gpu.problem:
        return gpu.problem.message
    if gpu.used is None or gpu.memory is None:
        return f"GPU {gpu.index}: {_words.NOT_TOLD}"
    shares = {name: (model.gpu_memory or {}).get(str(gpu.index)) for name, model in status.models.items()}
    users = [f"{name} {size(share)}" for name, share in (*shares.items(), ("others", gpu.others)) if share]
    return f"GPU {gpu.index}: {size(gpu.used)} of {size(gpu.memory)} used; {', '.join(users)}".removesuffix(
        "; "
    )


def _ago(at: datetime, now: datetime) -> str:
    return _words.age((now - at).total_seconds())
