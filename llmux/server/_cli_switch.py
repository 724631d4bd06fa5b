"""`llmux sleep`, `llmux wake` and `llmux switch`: what /control/sleep and its like do, from a shell."""

from __future__ import annotations

import click

from llmux.server import _words
from llmux.server._capacity import size
from llmux.server._cli_client import asks_llmux, print_json, run
from llmux.server._cli_progress import perform
from llmux.server._client import Client, Json, Target
from llmux.server._client_answers import Slept, Switched, Woken, read
from llmux.server._printable import printable


@click.command("sleep", short_help="Put MODEL to sleep.")
@click.argument("model")
@click.option("--weights", type=click.Choice(["retain", "offload", "discard"]), help="What becomes of them.")
@click.option(
    "--process",
    type=click.Choice(["keep_running", "checkpoint", "stop", "cuda_suspend"]),
    help="What becomes of the engine's processes.",
)
@asks_llmux
def sleep_command(
    *,
    model: str,
    weights: str | None,
    process: str | None,
    target: Target,
    as_json: bool,
) -> None:
    """Put MODEL to sleep: as it is configured, but for what is said here. Returns once it sleeps, or at once where it does."""
    said = {name: value for name, value in (("weights", weights), ("process", process)) if value}
    body: Json = {"model": model, "eviction": said} if said else {"model": model}

    async def ask(client: Client) -> Json:
        return await perform(client, model, "/control/sleep", body)

    answer = run(ask, target)
    print_json(answer) if as_json else click.echo(_slept(read(Slept, answer)))


@click.command("wake")
@click.argument("model")
@asks_llmux
def wake_command(*, model: str, target: Target, as_json: bool) -> None:
    """Wake MODEL, or start it. Returns once it serves."""

    async def ask(client: Client) -> Json:
        return await perform(client, model, "/control/wake", {"model": model})

    answer = run(ask, target)
    print_json(answer) if as_json else click.echo(_woken(read(Woken, answer)))


@click.command("switch")
@click.argument("model")
@asks_llmux
def switch_command(*, model: str, target: Target, as_json: bool) -> None:
    """Bring MODEL to serve at once. What is in its way sleeps, unless it is pinned. Returns once it serves."""

    async def ask(client: Client) -> Json:
        return await perform(client, model, "/control/switch", {"model": model})

    answer = run(ask, target)
    if as_json:
        print_json(answer)
        return
    switched = read(Switched, answer)
    others = ", ".join(switched.put_to_sleep)
    click.echo(_woken(switched) + (f"; put to sleep: {printable(others)}" if others else ""))


def _slept(slept: Slept) -> str:
    depth = _words.depth(slept.eviction.weights, slept.eviction.process)
    when = "already" if slept.already else f"after {slept.seconds:.2f} s"
    told = f"{slept.model}: {_words.state(slept.state)} {when} ({depth})"
    if made := slept.checkpoint:
        told += f"; checkpoint {made.generation} of {size(made.bytes)} in {made.path}"
    return printable(told)


def _woken(woken: Woken) -> str:
    state = _words.state(woken.state)
    if woken.already:
        return printable(f"{woken.model}: {state} already")
    told = f"{woken.model}: {state} after {woken.seconds:.2f} s"
    if wake := woken.last_wake:
        why = f": {wake.reason}" if wake.reason else ""
        told += f" ({_words.wake(wake.kind)}{why})"
    return printable(told)
