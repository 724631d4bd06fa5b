"""`llmux simulate` and `llmux trace`: policies replayed against a trace of requests, and traces made and imported.

Exit codes: 0 fine; 2 wrong use, or a trace or a node's description that cannot be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click

from llmux.server.errors import TraceInvalid
from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.measured import Measured, from_data
from llmux.server.scheduling.policies import PolicySettings, PolicyType, make_policy
from llmux.server.simulate import access_log, comparison, generate, node_file, timeline, trace
from llmux.server.simulate.costs import with_measured
from llmux.server.simulate.outcome import Outcome
from llmux.server.simulate.run import bound, simulate
from llmux.server.simulate.scenario import Model, Request, Rung, Scenario, plain
from llmux.server.simulate.trace import MOST_FAULTS, Fault

_WRONG_USE = 2
_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
_SECONDS = click.FloatRange(min=0, max=1e9)
_COUNT = click.IntRange(min=1)
_TRACE_HINT = 'A line is {"at": SECONDS, "model": NAME} with "seconds" or "tokens" of the answer, if known'


@click.command("simulate", short_help="Replay a trace under scheduling policies, and compare them.")
@click.argument("path", metavar="TRACE", type=_FILE)
@click.option(
    "--policy",
    "policies",
    type=click.Choice([str(p) for p in PolicyType]),
    multiple=True,
    default=tuple(str(p) for p in PolicyType),
    help="Replay with this one; may be given several times.  [default: all of them]",
)
@click.option("--node", type=_FILE, help="The node and its models, as JSON; see docs/scheduling.md.")
@click.option(
    "--awake", type=_COUNT, default=1, show_default=True, help="Models that fit awake, without --node."
)
@click.option(
    "--wake", type=_SECONDS, default=5.0, show_default=True, help="Seconds of a wake, without --node."
)
@click.option(
    "--sleep", type=_SECONDS, default=2.0, show_default=True, help="Seconds of a sleep, without --node."
)
@click.option(
    "--drain", type=_SECONDS, default=30.0, show_default=True, help="Bound of a drain, without --node."
)
@click.option("--measured", type=_FILE, help="Wakes and sleeps as a server measured them: its measured.json.")
@click.option("--max-wait", type=_SECONDS, default=60.0, show_default=True, help="policy.max_wait_secs")
@click.option("--amortization-factor", type=_SECONDS, default=1.0, show_default=True, help="As in policy.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw who was awake when, into this file."
)
def simulate_command(  # noqa: PLR0913 - one parameter for each option
    *,
    path: Path,
    policies: tuple[str, ...],
    node: Path | None,
    awake: int,
    wake: float,
    sleep: float,
    drain: float,
    measured: Path | None,
    max_wait: float,
    amortization_factor: float,
    as_json: bool,
    svg: Path | None,
) -> None:
    """Replay TRACE under scheduling policies and compare how long requests wait.

    TRACE has one JSON object per line: "at", the seconds since it began, "model", and "seconds" or "tokens" of the
    answer. `llmux trace generate` makes one, `llmux trace import` makes one of an access log. Nothing is started:
    engines and time are simulated, the policies are the server's own.
    """
    requests = _requests(path)
    like = Model("", {}, (Rung(wake=wake, sleep=sleep),), drain=drain, min_awake=5.0)
    scenario = _scenario(node, requests) if node else plain(_models(requests), awake, like)
    if measured:
        scenario = with_measured(scenario, _measured(measured))
    settings = {
        p: PolicySettings(PolicyType(p), max_wait, amortization_factor) for p in dict.fromkeys(policies)
    }
    outcomes = {p: simulate(scenario, requests, make_policy(s)) for p, s in settings.items()}
    holds = bound(scenario, Fair(max_wait, amortization_factor=amortization_factor))
    if as_json:
        click.echo(json.dumps(comparison.as_data(outcomes, holds), indent=2))
    else:
        _print(outcomes, holds)
    if svg is not None:
        _write(svg, timeline.draw(outcomes))


@click.group("trace")
def trace_command() -> None:
    """Make the traces that `llmux simulate` replays."""


@trace_command.command("generate")
@click.option(
    "--kind",
    type=click.Choice(["poisson", "bursts", "diurnal", "alternation"]),
    default="poisson",
    show_default=True,
    help="How requests come.",
)
@click.option(
    "--models", type=click.IntRange(1, 10_000), default=3, show_default=True, help="How many models."
)
@click.option(
    "--zipf", type=click.FloatRange(0, 10), default=0.0, show_default=True, help="How unequal; 0: not at all."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=1e-6, max=1e4),
    default=0.5,
    show_default=True,
    help="Requests a second.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0, max=1e7), default=1800.0, show_default=True, help="How long."
)
@click.option("--answer", type=_SECONDS, default=2.0, show_default=True, help="Mean seconds of an answer.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same trace.")
def generate_command(  # noqa: PLR0913 - one parameter for each option
    *, kind: str, models: int, zipf: float, rate: float, seconds: float, answer: float, seed: int
) -> None:
    """Print a trace made up by chance.

    bursts: six times the rate for a tenth of the time, every five minutes. diurnal: from a tenth of the rate to nearly
    twice that and back, in half an hour. alternation: one request after the other, each for the next model.
    """
    weights = generate.zipf(models, zipf)
    if kind == "alternation":
        requests = generate.alternation([name for name, _ in weights], 1 / rate, seconds, answer)
    else:
        rates = {
            "poisson": generate.steady(rate),
            "bursts": generate.bursts(rate * 4 / 9, rate * 6, 300.0, 30.0),
            "diurnal": generate.diurnal(rate, 1800.0),
        }
        requests = generate.poisson(generate.Mix(weights, answer), rates[kind], seconds, seed)
    click.echo(trace.written(requests), nl=False)


@trace_command.command("import")
@click.argument("path", metavar="LOG", type=_FILE)
@click.option(
    "--skip-bad", is_flag=True, help="Leave out lines that cannot be read, and say how many they are."
)
def import_command(*, path: Path, skip_bad: bool) -> None:
    """Print the trace that an access log holds.

    LOG is in the common or the combined log format, with the model in the query (?model=NAME) or in the path
    (/models/NAME), or it has one JSON object per line with a time and a model. Lines that name no model are passed over.
    """
    requests, faults = access_log.parse(_lines(path))
    if faults and not skip_bad:
        _refuse(path, faults, "Mend them, or leave them out with --skip-bad")
    if faults:
        click.echo(f"llmux: {len(faults)} lines of {path} cannot be read and are left out", err=True)
    click.echo(trace.written(requests), nl=False)


def _requests(path: Path) -> tuple[Request, ...]:
    requests, faults = trace.parse(_lines(path))
    if faults or not requests:
        _refuse(path, faults or (Fault(1, 1, "there is no request"),), _TRACE_HINT)
    return requests


def _models(requests: tuple[Request, ...]) -> tuple[str, ...]:
    return tuple(sorted({request.model for request in requests}))


def _scenario(path: Path, requests: tuple[Request, ...]) -> Scenario:
    scenario = node_file.parse("\n".join(_lines(path)))
    if not isinstance(scenario, Scenario):
        _exit(TraceInvalid(_shown(path), scenario, hint="docs/scheduling.md describes a node's file"))
    unknown = [name for name in _models(requests) if name not in scenario.models]
    if unknown:
        faults = tuple(f"models: has no {name!r}, which the trace asks for" for name in unknown[:MOST_FAULTS])
        _exit(TraceInvalid(_shown(path), faults, hint="Describe each model of the trace"))
    return scenario


def _measured(path: Path) -> Measured:
    try:
        return from_data(json.loads("\n".join(_lines(path))))
    except (ValueError, RecursionError) as error:
        _exit(TraceInvalid(_shown(path), (str(error),), hint="Give the measured.json that a server wrote"))


def _lines(path: Path) -> list[str]:
    try:
        return (sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        _exit(TraceInvalid(_shown(path), (reason,), hint="Give a readable text file"))


def _print(outcomes: Mapping[str, Outcome], holds: float) -> None:
    from rich.console import Console  # noqa: PLC0415 - only here, so that other commands need not load it
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(comparison.COLUMNS):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for name, outcome in outcomes.items():
        table.add_row(*comparison.row(name, outcome.summary()))
    console = Console(width=max(100, Console().width))
    console.print(table)
    console.print(
        f"\nSeconds. Under fair no request waits longer than {holds:.1f} s for its model's turn.",
        highlight=False,
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        reason = f"it cannot be written: {error.strerror or error}"
        _exit(TraceInvalid(_shown(path), (reason,), hint="Give another file with --svg"))


def _shown(path: Path) -> str:
    return "standard input" if str(path) == "-" else str(path)


def _refuse(path: Path, faults: tuple[Fault, ...], hint: str) -> NoReturn:
    shown = tuple(map(str, faults[:MOST_FAULTS]))
    more = (f"and {len(faults) - MOST_FAULTS} more",) if len(faults) > MOST_FAULTS else ()
    _exit(TraceInvalid(_shown(path), shown + more, hint=hint))


def _exit(error: TraceInvalid) -> NoReturn:
    click.echo(f"llmux: {error}", err=True)
    raise SystemExit(_WRONG_USE)
