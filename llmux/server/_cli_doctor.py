"""`llmux doctor`: what a sleep or a wake needs of this machine, what of it is lacking, and what mends it.

Exit codes: 0 nothing is lacking; 1 something is; 2 wrong use.
"""

from __future__ import annotations

import asyncio
import os
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.text import Text

from llmux.server import _capacity, _listen, _node, _secret_file, _unmet, config, engines
from llmux.server._cli_client import console, print_json, table
from llmux.server._disk_use import disk_use
from llmux.server._printable import printable
from llmux.server._unmet import Program, Source, Unmet
from llmux.server.config import Config
from llmux.server.doctor import Finding, Verdict, Wanted, findings, observe
from llmux.server.doctor._facts import Configuration, Failure, Need, Port
from llmux.server.errors import ConfigInvalid, ConfigUnreadable

_LACKING = 1
_SPEED_MIB = 256
_UNFOLDED = 1 << 16
"""Columns of a file or a pipe: each finding is one line there, which `grep` finds whole."""
_SEEN_COLUMNS = 80
_MARKS = {
    Verdict.FINE: Text("ok", style="green"),
    Verdict.NOTE: Text("note", style="yellow"),
    Verdict.LACKING: Text("LACKING", style="bold red"),
}


@click.command("doctor", short_help="Look for what would keep models from sleeping and waking.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    show_default="/etc/llmux/config.json, .yaml, .yml or .toml, if there is one",
    help="Look at what this configuration needs; defaults without one.",
)
@click.option(
    "--speed-mib",
    type=click.IntRange(0, 65536),
    default=_SPEED_MIB,
    show_default=True,
    help="How much is written and read to measure the disk of the checkpoints; 0: it is not measured.",
)
@click.option(
    "--trial/--no-trial",
    default=True,
    show_default=True,
    help="Have CRIU dump and restore a small process.",
)
@click.option("--lacking", "only_lacking", is_flag=True, help="Print only what is lacking.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings for programs.")
def doctor_command(
    *, path: Path | None, speed_mib: int, trial: bool, only_lacking: bool, as_json: bool
) -> None:
    """Look for what would keep models from sleeping and waking here. Run it where llmux is to run: as root, in its container."""
    wanted, configuration = _configured(path, Wanted(trial=trial, speed_bytes=speed_mib << 20))
    found = findings(asyncio.run(observe(wanted, configuration)))
    shown = [each for each in found if each.verdict is Verdict.LACKING] if only_lacking else found
    if as_json:
        print_json([_for_programs(each) for each in shown])
    else:
        _print(shown, _verdict(found))
    raise SystemExit(_LACKING if any(each.verdict is Verdict.LACKING for each in found) else 0)


def _configured(path: Path | None, wanted: Wanted) -> tuple[Wanted, Configuration]:
    """Return what is to be looked at, by the configuration where there is one that can be read."""
    told = str(path or config.HOME / "config.json")
    try:
        there = path or config.find()
        told = str(there)
        settings = config.load(there)
    except ConfigUnreadable as error:
        missing = path is None and not Path(told).exists()
        unread = () if missing else (f"{told} cannot be read: {error.reason}",)
        return wanted, Configuration(told, there=not missing, faults=unread)
    except ConfigInvalid as error:
        return wanted, Configuration(told, faults=error.faults)
    section = settings.checkpoint
    wanted = replace(
        wanted,
        criu_path=section.criu_path,
        cuda_plugin_dir=None if section.cuda_plugin_dir is None else str(section.cuda_plugin_dir),
        cuda_checkpoint_path=section.cuda_checkpoint_path,
        images_dir=str(section.images_dir),
        log_dir=str(settings.log_dir),
        state_dir=str(settings.state_dir),
        checkpoints=disk_use(settings),
        ports=tuple(_ports(settings)),
    )
    node = _node.look(section.images_dir)
    faults = (
        *config.eviction_faults(settings),
        *_capacity.faults(settings, node),
        *_secret_file.faults(settings),
    )
    here = asyncio.run(_unmet.look(settings, os.environ))
    return wanted, Configuration(
        told,
        faults=faults,
        remarks=config.remarks(settings),
        sleepers=here.criu.what if here.criu else "",
        needs=(*map(_engine, here.programs), *map(_model, here.sources)),
    )


def _ports(settings: Config) -> Iterator[Port]:
    """Yield the ports of llmux and of its engines."""
    for place in _listen.places(settings):
        yield Port(place.key, place.host, place.port)
    for name, model in settings.models.items():
        if model.runs_here:
            for port in model.replica_ports():
                yield Port(f"models.{name}.port", engines.LOOPBACK, port)


def _engine(program: Program) -> Need:
    """Return the same as a fact."""
    place = f"{program.place or ''}{f' has {program.module.name}' if program.module else ''}"
    return Need(f"engine.{program.engine}", place, program.models, _failure(program.unmet))


def _model(source: Source) -> Need:
    """Return the same as a fact."""
    return Need(f"model.{source.model}", str(source.path), (source.model,), _failure(source.unmet))


def _failure(unmet: Unmet | None) -> Failure | None:
    return Failure(unmet.what, unmet.mend) if unmet else None


def _for_programs(finding: Finding) -> dict[str, str]:
    return {
        "topic": finding.topic,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "mend": finding.mend,
    }


def _verdict(found: Sequence[Finding]) -> Text:
    """Return the line that all comes to: how much is lacking, and what is best mended first."""
    many = Counter(each.verdict for each in found)
    notes = f"{many[Verdict.NOTE]} {'note' if many[Verdict.NOTE] == 1 else 'notes'}"
    told = f"{many[Verdict.LACKING] or 'nothing is'} lacking, {notes}, {many[Verdict.FINE]} ok"
    first = next((each for each in found if each.verdict is Verdict.LACKING), None)
    if first is None:
        return Text(told, style="bold green")
    seen = printable(textwrap.shorten(first.seen, _SEEN_COLUMNS, placeholder=" …"))
    return Text(f"{told}; mend first: {first.topic} ({seen})", style="bold red")


def _print(shown: Sequence[Finding], verdict: Text) -> None:
    rows: list[list[str | Text]] = []
    for each in shown:
        rows.append([_MARKS[each.verdict], each.topic, each.seen])
        if each.mend:
            rows.append(["", "", Text(f"-> {printable(each.mend)}", style="cyan")])
    screen = console()
    if not screen.is_terminal:
        screen.width = _UNFOLDED
    with screen.capture() as told:
        if rows:
            screen.print(table(("", "looked at", "seen, and what mends it"), rows))
            screen.print()
        screen.print(verdict)
    # A table fills each line up with blanks.
    click.echo("\n".join(line.rstrip() for line in told.get().splitlines()))
