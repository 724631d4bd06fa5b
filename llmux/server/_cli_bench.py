"""`llmux bench`: what clients of a running llmux get of a model, and what a switch between models takes.

Exit codes: 0 every request was answered; 1 some were not; 2 wrong use; 3 llmux cannot be reached; 130 interrupted, what was seen till
then printed.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click

from llmux.server._cli_client import (
    CANNOT,
    INTERRUPTED,
    asks_llmux,
    console,
    print_json,
    run,
    table,
)
from llmux.server._client import Client, Target
from llmux.server._printable import printable
from llmux.server.bench.asking import Api, Question
from llmux.server.bench.figures import Ended, Figures, Spread, figures
from llmux.server.bench.measuring import Load, Switching, Tell, check
from llmux.server.bench.switches import Switch, SwitchFigures, switch_figures


@dataclass(frozen=True)
class _Bounds:
    requests: int
    concurrency: int
    duration: float


@click.command("bench", short_help="Measure what clients get of models: waits, tokens a second.")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--requests",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="For each model.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    help="Requests at a time, of all models together.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1, 1_000_000),
    default=64,
    show_default=True,
    help="The longest that an answer may be.",
)
@click.option("--prompt", show_default="another one for each request", help="What is asked.")
@click.option(
    "--api",
    type=click.Choice(["chat", "completions"]),
    default="chat",
    show_default=True,
    help="A chat, or a text to go on with.",
)
@click.option(
    "--stream/--no-stream", default=True, show_default=True, help="Have answers come in pieces, or whole."
)
@click.option(
    "--switches",
    type=click.IntRange(1, 100_000),
    help="Measure so many switches instead: one request at a time, the models by turns; a model alone is put to sleep before each.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=86_400),
    default=600.0,
    show_default=True,
    help="Seconds for one answer.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0.1, max=86_400),
    default=600.0,
    show_default=True,
    help="Seconds after which no more is measured.",
)
@asks_llmux
def bench_command(  # noqa: PLR0913 - one parameter for each option
    *,
    models: tuple[str, ...],
    requests: int,
    concurrency: int,
    max_tokens: int,
    prompt: str | None,
    api: Api,
    stream: bool,
    switches: int | None,
    timeout: float,
    duration: float,
    target: Target,
    as_json: bool,
) -> None:
    """Measure what clients get of each MODEL: answers and errors, the time to the first token, waits, tokens a second.
    With --switches: what a switch between models takes, as a client sees it and as llmux tells it. Ctrl-C prints what was seen till then.
    """  # noqa: D205 - click's help
    models = tuple(dict.fromkeys(models))
    question = Question(api, prompt, max_tokens, stream, timeout)
    if switches is None:
        _measure_load(target, models, question, _Bounds(requests, concurrency, duration), as_json=as_json)
    else:
        _measure_switches(target, models, question, _Bounds(switches, 1, duration), as_json=as_json)


# ---- load ----


def _measure_load(
    target: Target, models: Sequence[str], question: Question, bounds: _Bounds, *, as_json: bool
) -> None:
    async def measure(client: Client) -> tuple[Load, Ended, float]:
        await check(client, models)
        load, began = Load(client, question), time.monotonic()
        with _line(f"{len(models) * bounds.requests} requests") as tell:
            ended = await load.run(models, bounds.requests, bounds.concurrency, bounds.duration, tell)
        return load, ended, time.monotonic() - began

    load, ended, seconds = run(measure, target)
    told = {model: figures([each for each in load.asked if each.model == model]) for model in models}
    unfinished = load.begun - len(load.asked)
    if as_json:
        print_json(_for_programs(told, ended, seconds) | {"unfinished": unfinished})
    else:
        _print(told, [(name, [show(each) for each in told.values()]) for name, show in _LOAD])
        _say_why(ended, seconds, f"; {unfinished} unfinished" if unfinished else "")
        _say(_errors(told))
    _exit(ended, [each.answers == each.requests > 0 for each in told.values()])


_LOAD: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("requests", lambda each: str(each.requests)),
    ("answers", lambda each: str(each.answers)),
    ("errors", lambda each: _counts(each.errors) or "none"),
    ("answers/s", lambda each: f"{each.answers_per_second:.3g}"),
    ("first token, p50 p95 p99", lambda each: _times(each.first_token)),
    ("whole answer, p50 p95 p99", lambda each: _times(each.answer)),
    ("queued, p50 p95 p99", lambda each: _times(each.queued)),
    ("waited for", lambda each: _counts(each.wakes)),
    ("tokens", lambda each: "" if each.tokens is None else str(each.tokens)),
    ("tokens/s, of all answers", lambda each: _rate(each.tokens_per_second)),
    ("tokens/s, of one, p50", lambda each: _rate(each.pace.p50 if each.pace else None)),
)

# ---- switches ----


def _measure_switches(
    target: Target, models: Sequence[str], question: Question, bounds: _Bounds, *, as_json: bool
) -> None:
    async def measure(client: Client) -> tuple[Switching, Ended, float]:
        await check(client, models)
        switching, began = Switching(client, question), time.monotonic()
        with _line(f"{bounds.requests} switches") as tell:
            ended = await switching.run(models, bounds.requests, bounds.duration, tell)
        return switching, ended, time.monotonic() - began

    switching, ended, seconds = run(measure, target)
    seen = switching.switches
    told = {model: switch_figures([each for each in seen if each.asked.model == model]) for model in models}
    remarks = _remarks(switching, seen)
    if as_json:
        print_json(_for_programs(told, ended, seconds) | {"remarks": remarks})
    else:
        _print(told, [(name, [show(each) for each in told.values()]) for name, show in _SWITCHES])
        _say_why(ended, seconds)
        _say([*_errors(told), *remarks])
    _exit(ended, [not each.errors for each in told.values()])


_SWITCHES: tuple[tuple[str, Callable[[SwitchFigures], str]], ...] = (
    ("requests", lambda each: str(each.requests)),
    ("errors", lambda each: _counts(each.errors) or "none"),
    ("waited for", lambda each: _counts(each.wakes)),
    ("client: sleep, p50 p95", lambda each: _two(each.slept)),
    ("client: queued, p50 p95", lambda each: _two(each.queued)),
    ("client: first token, p50 p95", lambda each: _two(each.first_token)),
    ("llmux: sleep, p50 p95", lambda each: _two(each.sleep)),
    ("llmux: wake, p50 p95", lambda each: _two(each.wake)),
    ("queued but for these, p50 p95", lambda each: _two(each.rest)),
)


def _remarks(switching: Switching, seen: Sequence[Switch]) -> list[str]:
    remarks = [f"llmux's side is missing: {switching.silence}"] if switching.silence else []
    others = seen[1:]  # the first may find its model awake
    if found := sum(each.found_awake for each in others):
        remarks.append(
            f"{found} of {len(others)} requests found their model awake: there is room for more than one; "
            "with max_awake: 1 each needs a switch"
        )
    return remarks


# ---- both ----


@contextmanager
def _line(doing: str) -> Iterator[Tell]:
    """Give what a terminal is told of how far it is."""
    screen = console(sys.stderr)
    if not screen.is_terminal:
        yield lambda _: None
        return
    with screen.status(doing) as line:
        yield lambda how_far: line.update(f"{doing}: {how_far}")


def _print(models: Iterable[str], rows: Iterable[tuple[str, list[str]]]) -> None:
    """Print a column for each model; what is known of none has no row."""
    console().print(table(("", *models), [[name, *shown] for name, shown in rows if any(shown)]))


def _say_why(ended: Ended, seconds: float, more: str = "") -> None:
    why = {Ended.DONE: "", Ended.TIME: ", its time", Ended.INTERRUPTED: ", interrupted"}[ended]
    click.echo(f"\nmeasured for {seconds:.1f} s{why}{more}")


def _say(remarks: Iterable[str]) -> None:
    for each in remarks:
        click.echo(f"note: {printable(each)}")


def _errors(told: Mapping[str, Figures | SwitchFigures]) -> list[str]:
    """Return what the first error of each model and code said."""
    return [
        f"{model}: {code}: {message}"
        for model, each in told.items()
        for code, message in each.messages.items()
    ]


def _for_programs(
    told: Mapping[str, Figures | SwitchFigures], ended: Ended, seconds: float
) -> dict[str, object]:
    models = {name: dataclasses.asdict(each) for name, each in told.items()}
    return {"ended": ended.value, "seconds": seconds, "models": models}


def _exit(ended: Ended, well: Sequence[bool]) -> None:
    raise SystemExit(INTERRUPTED if ended is Ended.INTERRUPTED else 0 if all(well) else CANNOT)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _times(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.p50:.3f} {spread.p95:.3f} {spread.p99:.3f} s"


def _two(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.p50:.3f} {spread.p95:.3f} s"


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.4g}"
