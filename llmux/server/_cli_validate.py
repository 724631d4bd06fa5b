"""`llmux validate`: whether a configuration can be, and whether a real model answers after each kind of sleep as it did before.

Exit codes: 0 all is well; 1 this machine cannot serve the configuration (`--here`), or a model does not come back as it was;
2 wrong use, or a configuration with faults; 3 llmux cannot be reached.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

import click
from rich.text import Text

from llmux.server import _capacity, _node, _secret_file, _unmet, _validation, _words, config
from llmux.server._capacity import size
from llmux.server._cli_client import CANNOT, WRONG_USE, asks_llmux, console, fail, print_json, run, table
from llmux.server._client import Client, Target
from llmux.server._model import Eviction, Process, Weights
from llmux.server._printable import printable
from llmux.server._validation import Trial
from llmux.server.config import Config
from llmux.server.config._matrix import MATRIX, Possible
from llmux.server.errors import ConfigInvalid, ConfigUnreadable, NodeUnfit

_ALL = "all"
_NOTEWORTHY = 1 << 20
"""Bytes."""
_COLUMNS = (
    *("weights", "process", "sleep", "gives back", "checkpoint", "wake", "first answer"),
    *("same tokens", "log-probabilities", "verdict"),
)


def _evictions(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[Eviction | None, ...]:
    """Read WEIGHTS:PROCESS, or all of them (None)."""
    return tuple(None if text == _ALL else _eviction(text) for text in texts)


def _eviction(text: str) -> Eviction:
    weights, _, process = text.partition(":")
    try:
        return Eviction(Weights(weights), Process(process))
    except ValueError as error:
        names = ", ".join(f"{each.weights}:{each.process}" for each in _possible())
        raise click.BadParameter(f"{text!r} is none of {_ALL}, {names}") from error


@click.command("validate", short_help="Name a configuration's faults, or try a model's sleeps.")
@click.argument("model", required=False)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    show_default="/etc/llmux/config.json, .yaml, .yml or .toml",
    help="The configuration to read, without MODEL.",
)
@click.option("--here", is_flag=True, help="Say too what of it this machine cannot hold or do.")
@click.option("--schema", is_flag=True, help="Print the configuration's JSON Schema instead.")
@click.option(
    "--evictions",
    callback=_evictions,
    multiple=True,
    default=(_ALL,),
    show_default=True,
    help="With MODEL: a sleep to try, WEIGHTS:PROCESS; may be given several times.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="With MODEL: how much a log-probability may differ, beside what it does without any sleep.",
)
@asks_llmux
def validate_command(  # noqa: PLR0913 - one parameter for each option
    *,
    model: str | None,
    path: Path | None,
    here: bool,
    schema: bool,
    evictions: Sequence[Eviction | None],
    tolerance: float,
    target: Target,
    as_json: bool,
) -> None:
    """Read the configuration and name every fault. With MODEL: put that model of a running llmux to sleep in each way, wake it, and
    compare what it says before and after. Its requests wait meanwhile; it is left awake.
    """  # noqa: D205 - click's help
    if schema:
        print_json(config.schema())
    elif model is None:
        _validate_configuration(path, here=here, as_json=as_json)
    else:
        wanted = tuple(
            dict.fromkeys(each for one in evictions for each in (_possible() if one is None else (one,)))
        )
        _validate_model(target, model, wanted, tolerance, as_json=as_json, forgiving=None in evictions)


def _possible() -> tuple[Eviction, ...]:
    return tuple(eviction for eviction, entry in MATRIX.items() if isinstance(entry, Possible))


# ---- the configuration ----


def _validate_configuration(path: Path | None, *, here: bool, as_json: bool) -> None:
    try:
        there = path or config.find()
        settings = config.load(there)
    except (ConfigInvalid, ConfigUnreadable) as error:
        if as_json:
            _print_verdict(path, error.faults if isinstance(error, ConfigInvalid) else (error.reason,))
        fail(WRONG_USE, error)
    remarks = config.remarks(settings)
    faults = _faults_here(settings) if here else ()
    if as_json:
        _print_verdict(there, faults, remarks, tuple(settings.models))
    else:
        for remark in remarks:
            click.echo(f"note: {printable(remark)}")
    if faults:
        fail(CANNOT, NodeUnfit(faults, hint=_unmet.doctor(there)))
    if not as_json:
        models = "one model" if len(settings.models) == 1 else f"{len(settings.models)} models"
        click.echo(f"{there}: fine, {models}: {', '.join(settings.models)}")


def _print_verdict(
    path: Path | None, faults: Sequence[str], remarks: Sequence[str] = (), models: Sequence[str] = ()
) -> None:
    told = {"path": path and str(path), "faults": list(faults)}
    print_json({**told, "remarks": list(remarks), "models": list(models)})


def _faults_here(settings: Config) -> tuple[str, ...]:
    node = _node.look(settings.checkpoint.images_dir)
    return (
        *config.eviction_faults(settings),
        *_capacity.faults(settings, node),
        *_secret_file.faults(settings),
        *map(str, asyncio.run(_unmet.look(settings, os.environ)).unmet),
    )


# ---- a model ----


def _validate_model(  # noqa: PLR0913 - one parameter for each option
    target: Target,
    model: str,
    evictions: Sequence[Eviction],
    tolerance: float,
    *,
    as_json: bool,
    forgiving: bool,
) -> None:
    """Try each; with `forgiving`, what llmux refuses from the start is no failure: nobody has asked for it by name."""

    async def tried(client: Client) -> list[Trial]:
        screen = console(sys.stderr)
        waiting = screen.status(f"{model}: ...") if screen.is_terminal else nullcontext()
        with waiting as line:
            tell = (lambda what: line.update(f"{model}: {what}")) if line else (lambda _: None)
            return [each async for each in _validation.trials(client, model, evictions, tolerance, tell)]

    trials = run(tried, target)
    if as_json:
        for each in trials:
            click.echo(json.dumps(_for_programs(each)))
    else:
        console().print(table(_COLUMNS, [_row(alike) for alike in _alike(trials)]))
    failed = [each for each in trials if each.problem and (each.slept or not forgiving)]
    raise SystemExit(CANNOT if failed or not any(each.slept for each in trials) else 0)


def _alike(trials: Sequence[Trial]) -> Iterable[Sequence[Trial]]:
    """Return those that have a row together: each that was tried by itself, and what is refused of one process for one reason."""
    rows: dict[object, list[Trial]] = {}
    for number, trial in enumerate(trials):
        rows.setdefault(number if trial.slept else (trial.eviction.process, trial.problem), []).append(trial)
    return rows.values()


def _row(alike: Sequence[Trial]) -> list[str | Text]:
    trial = alike[0]
    slept, woken, found = trial.slept, trial.woken, trial.comparison
    verdict = "the same" if not trial.problem else trial.problem if slept else f"not tried: {trial.problem}"
    style = "green" if not trial.problem else "bold red" if slept else "yellow"
    made = slept.checkpoint if slept else None
    drift = "" if found is None else "not told" if found.drift is None else f"within {found.drift:.2g}"
    return [
        ", ".join(each.eviction.weights for each in alike),
        trial.eviction.process.value,
        f"{slept.seconds:.2f} s" if slept else "",
        _given_back(trial) if slept else "",
        size(made.bytes) if made else "",
        f"{woken.seconds:.2f} s" if woken else "",
        "" if trial.first_answer is None else f"{trial.first_answer:.2f} s",
        f"{found.tokens - found.differing} of {found.tokens}" if found else "",
        drift,
        Text(printable(verdict), style=style),
    ]


def _given_back(trial: Trial) -> str:
    """Return what is given back of each kind of memory, with a minus what is taken beside; less than a MiB is nobody's gain."""
    amounts = [
        f"{'-' if amount < 0 else ''}{size(abs(amount))} {_words.resource(what)}"
        for what, amount in trial.given_back
        if abs(amount) >= _NOTEWORTHY
    ]
    return ", ".join(amounts) or "nothing"


def _for_programs(trial: Trial) -> dict[str, object]:
    slept, woken, found = trial.slept, trial.woken, trial.comparison
    return {
        "weights": trial.eviction.weights.value,
        "process": trial.eviction.process.value,
        "tried": slept is not None,
        "problem": trial.problem or None,
        "sleep_seconds": slept.seconds if slept else None,
        "wake_seconds": woken.seconds if woken else None,
        "wake_kind": woken.last_wake.kind if woken and woken.last_wake else None,
        "first_answer_seconds": trial.first_answer,
        "checkpoint_bytes": slept.checkpoint.bytes if slept and slept.checkpoint else None,
        "given_back": dict(trial.given_back),
        "tokens": found.tokens if found else None,
        "differing_tokens": found.differing if found else None,
        "largest_logprob_difference": found.drift if found else None,
    }
