"""`llmux logs`, `llmux events` and `llmux requests`: what goes on, as it goes on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import click

from llmux.server._cli_client import asks_llmux, console, print_json, run, table
from llmux.server._client import Client, NotReached, Target, path_of
from llmux.server._client_answers import Requests, Status, read
from llmux.server._printable import printable


@click.command("logs", short_help="Print the end of llmux's log, or of an engine's.")
@click.argument("model", required=False)
@click.option("--lines", type=click.IntRange(0, 10_000), default=100, show_default=True, help="From the end.")
@click.option("--follow", "-f", is_flag=True, help="And those that follow, until interrupted.")
@asks_llmux
def logs_command(*, model: str | None, lines: int, follow: bool, target: Target, as_json: bool) -> None:
    """Print the end of what MODEL's engine has written, or one of its replicas' by its name; without MODEL, of llmux's own log."""
    parts = ("control", "logs") if model is None else ("control", "logs", model)
    path = path_of(*parts, lines=lines, follow="true" if follow else "false")

    async def show(client: Client) -> None:
        empty = True
        async for line in client.lines(path):
            empty = False
            click.echo(json.dumps({"line": line}) if as_json else printable(line, keep="\t"))
        if empty and model is not None and lines:
            log = _log_of(read(Status, await client.get("/control/status")), model)
            where = f" to {log}" if log else ""
            click.echo(printable(f"llmux: {model}: its engine has written nothing{where}"), err=True)

    run(show, target)


def _log_of(status: Status, name: str) -> str | None:
    """Return where a model's engine, or a replica of that name, writes its output; None where none runs."""
    engines = {of: each.engine for model in status.models.values() for of, each in model.replicas.items()}
    engines |= {of: model.engine for of, model in status.models.items()}
    engine = engines.get(name)
    return engine.log if engine else None


@click.command("events", short_help="Print what happens, as it happens.")
@click.option("--since", type=click.IntRange(min=0), help="First those after this id; 0: all that are kept.")
@click.option("--model", help="Only those of one model.")
@click.option("--kind", help="Only of these kinds, with commas between: state_changed,wake_done.")
@asks_llmux
def events_command(
    *, since: int | None, model: str | None, kind: str | None, target: Target, as_json: bool
) -> None:
    """Print what happens, until interrupted or llmux ends; with --json an object a line."""
    path = path_of("control", "events", since=since, model=model, kind=kind)

    async def show(client: Client) -> None:
        async for told in _events(client, path):
            click.echo(json.dumps(told) if as_json else _line(told))

    run(show, target)


async def _events(client: Client, path: str) -> AsyncIterator[dict[str, object]]:
    """Yield the data of each event, which is an object that fits one line (the HTML Standard's server-sent events)."""
    kind = ""
    async for line in client.lines(path):
        name, _, value = line.rstrip("\r").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield _data(kind, value)


def _data(kind: str, value: str) -> dict[str, object]:
    try:
        told: object = json.loads(value)
    except ValueError as error:
        raise NotReached("its port", f"an event that is not JSON: {value[:80]!r}") from error
    if not isinstance(told, dict):
        return {"kind": kind, "message": told}
    return {"kind": kind, **told}


def _line(told: dict[str, object]) -> str:
    """Return an event for people: when, of whom, what, and the rest by name; a request's second name where it is another."""
    said = {"id", "at", "kind", "model", "replica"}
    if told.get("request") == told.get("request_id"):
        said.add("request_id")
    rest = {name: value for name, value in told.items() if name not in said}
    who = told.get("replica") or told.get("model") or ""
    details = " ".join(f"{name}={_short(value)}" for name, value in rest.items() if value not in _NOTHING)
    words = (str(told.get("at", "")), str(told["kind"]), str(who), details)
    return printable(" ".join(word for word in words if word))


_NOTHING: tuple[object, ...] = (None, "", {}, [], False)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict) and value and all(isinstance(each, float) for each in value.values()):
        return ",".join(f"{name}:{each:.3f}" for name, each in value.items())
    return json.dumps(value) if isinstance(value, dict | list) or " " in str(value) else str(value)


@click.command("requests", short_help="List the requests that are under way; or end one.")
@click.option("--model", help="Only those of one model.")
@click.option("--cancel", metavar="ID", help="End this one: its client gets an error that says so.")
@asks_llmux
def requests_command(*, model: str | None, cancel: str | None, target: Target, as_json: bool) -> None:
    """List the requests that wait for an engine or are being answered, the oldest first; or end one."""
    if cancel is not None:
        answer = run(lambda client: client.delete(path_of("control", "requests", cancel)), target)
        print_json(answer) if as_json else click.echo(printable(f"{cancel}: cancelled"))
        return
    answer = run(lambda client: client.get(path_of("control", "requests", model=model)), target)
    if as_json:
        print_json(answer)
        return
    rows = [
        [
            each.id,
            each.model,
            each.state,
            f"{each.seconds:.1f} s",
            f"{each.method} {each.path}",
            each.replica or "",
            each.request_id if each.request_id != each.id else "",
        ]
        for each in read(Requests, answer).requests
    ]
    if not rows:
        click.echo("no request waits or is being answered")
        return
    console().print(table(("id", "model", "state", "for", "request", "replica", "X-Request-ID"), rows))
