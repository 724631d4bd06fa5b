"""What somebody rules by hand: pins, who decides, that no new requests come in, another configuration."""

from __future__ import annotations

import click

from llmux.server._cli_client import asks_llmux, print_json, run
from llmux.server._cli_progress import perform
from llmux.server._client import Client, Json, Target
from llmux.server._client_answers import Drained, Mode, Pinned, Reloaded, read
from llmux.server._printable import printable


@click.command("pin", short_help="Wake MODEL, and keep it awake whatever others need.")
@click.argument("model")
@asks_llmux
def pin_command(*, model: str, target: Target, as_json: bool) -> None:
    """Wake MODEL, and keep it awake whatever others need: until it is unpinned, or the configuration reloaded."""
    _pin("/control/pin", model, target, as_json=as_json)


@click.command("unpin")
@click.argument("model")
@asks_llmux
def unpin_command(*, model: str, target: Target, as_json: bool) -> None:
    """Let MODEL sleep for others again."""
    _pin("/control/unpin", model, target, as_json=as_json)


def _pin(path: str, model: str, target: Target, *, as_json: bool) -> None:
    answer = run(lambda client: client.post(path, {"model": model}), target)
    if as_json:
        print_json(answer)
    else:
        told = read(Pinned, answer)
        click.echo(printable(f"{told.model}: {'pinned' if told.pinned else 'not pinned'}"))


@click.command("mode", short_help="Say, or set, who decides which model serves.")
@click.argument("mode", required=False, type=click.Choice(["auto", "manual"]))
@asks_llmux
def mode_command(*, mode: str | None, target: Target, as_json: bool) -> None:
    """Say who decides which model serves: the policy (auto), or whoever wakes them by hand (manual). Without MODE: as it is."""

    async def ask(client: Client) -> Json:
        if mode is None:
            return await client.get("/control/mode")
        return await client.put("/control/mode", {"mode": mode})

    answer = run(ask, target)
    print_json(answer) if as_json else click.echo(printable(read(Mode, answer).mode))


@click.command("drain")
@click.argument("model", required=False)
@asks_llmux
def drain_command(*, model: str | None, target: Target, as_json: bool) -> None:
    """Refuse new requests for MODEL, or for all. Returns once those that had come are answered; it lasts until undrain."""

    async def ask(client: Client) -> Json:
        return await perform(client, model or "all models", "/control/drain", {"model": model})

    answer = run(ask, target)
    print_json(answer) if as_json else click.echo(_drained(read(Drained, answer)))


@click.command("undrain")
@click.argument("model", required=False)
@asks_llmux
def undrain_command(*, model: str | None, target: Target, as_json: bool) -> None:
    """Let new requests for MODEL in again, or for all."""
    answer = run(lambda client: client.post("/control/undrain", {"model": model}), target)
    print_json(answer) if as_json else click.echo(_drained(read(Drained, answer)))


def _drained(told: Drained) -> str:
    who = told.model or "all models"
    if not told.draining:
        return printable(f"{who}: new requests are let in")
    return printable(f"{who}: drained" + ("" if told.seconds is None else f" after {told.seconds:.2f} s"))


@click.command("reload")
@asks_llmux
def reload_command(*, target: Target, as_json: bool) -> None:
    """Have llmux read its configuration anew. It is taken whole, or not at all."""
    answer = run(lambda client: client.post("/control/reload", {}), target)
    print_json(answer) if as_json else click.echo(_reloaded(read(Reloaded, answer)))


def _reloaded(told: Reloaded) -> str:
    lines = [
        *(f"added {name}" for name in told.added),
        *(f"removed {name}" for name in told.removed),
        *(f"changed {name}: {', '.join(fields)}" for name, fields in told.changed.items()),
        *(f"changed {field}" for field in told.node),
        *(f"its engine ends or is started anew: {name}" for name in told.engines_anew),
    ]
    return "\n".join(map(printable, lines or ["nothing has changed"]))
