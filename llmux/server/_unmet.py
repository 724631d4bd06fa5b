"""What the configured models cannot do without on this machine, and do not find: criu where they sleep on disk, their engines' programs.

    sleepers(config)                     whose configured sleep is one to disk; pure
    without_criu(config, lack)           what a lack of criu means to them, where it means anything; pure
    programs(config, environ)            each engine's program, who needs it, and where it is
    await look(config, environ)          all that is unmet

`llmux serve`, `llmux doctor` and `llmux validate --here` ask here, so that none of them approves what another refuses.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmux.server import _criu, engines
from llmux.server._criu import CriuSettings
from llmux.server.config import Config
from llmux.server.errors import ServerError

DOCTOR = "`llmux doctor` looks for all that is lacking here"


@dataclass(frozen=True)
class Unmet:
    """What is not there, and who needs it."""

    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.what}. {self.mend}" if self.mend else self.what


@dataclass(frozen=True)
class Program:
    """What an engine is started with."""

    engine: str
    name: str
    models: tuple[str, ...]
    place: str | None = None
    """Where it is; None: nowhere."""

    @property
    def unmet(self) -> Unmet | None:
        """Return that it is not there, where that is so."""
        if self.place is not None:
            return None
        where = f"no program {self.name}" + ("" if "/" in self.name else " on PATH")
        needing = f"{_listed(self.models)} {'needs' if len(self.models) == 1 else 'need'}"
        return Unmet(f"{where}, which {needing}", _MENDS.get(self.name, _MEND))


_MEND = "Install it here, or name it by its whole path"
_MENDS = {
    "vllm": "Install vLLM here, name it by its whole path (vllm_command), or run llmux in the image llmux:vllm"
}


def sleepers(config: Config) -> tuple[str, ...]:
    """Return the models whose configured sleep is a checkpoint."""
    return tuple(name for name, model in config.models.items() if model.eviction.process == "checkpoint")


def without_criu(config: Config, lack: ServerError | None) -> Unmet | None:
    """Return what `lack`, the reason why criu cannot work here, keeps the configured models from."""
    names = sleepers(config)
    if lack is None or not names:
        return None
    sleep = "sleeps" if len(names) == 1 else "sleep"
    return Unmet(f"{_listed(names)} {sleep} on disk, and {lack.what()}", lack.hint)


def programs(config: Config, environ: Mapping[str, str]) -> tuple[Program, ...]:
    """Return the programs of all engines that run here, looked for where a sandbox would with `environ`."""
    needed: dict[tuple[str, str, str | None], list[str]] = {}
    for name, model in config.models.items():
        if model.runs_here:
            command = engines.make(name, model, Path(os.devnull)).command(environ)
            program = command.argv[0]
            sought = f"{command.cwd}/{program}" if "/" in program and program[0] != "/" else program
            place = shutil.which(sought, path=command.env.get("PATH", os.defpath))
            needed.setdefault((model.engine, program, place), []).append(name)
    return tuple(
        Program(engine, program, tuple(names), place) for (engine, program, place), names in needed.items()
    )


async def look(config: Config, environ: Mapping[str, str]) -> tuple[Unmet, ...]:
    """Return everything that is unmet; changes nothing."""
    lack = without_criu(config, await _lack(config)) if sleepers(config) else None
    found = await asyncio.to_thread(programs, config, environ)
    return tuple(each for each in (lack, *(program.unmet for program in found)) if each)


async def _lack(config: Config) -> ServerError | None:
    try:
        await _criu.check(criu_settings(config))
    except ServerError as lack:
        return lack
    return None


def criu_settings(config: Config) -> CriuSettings:
    """Return how criu is run."""
    section = config.checkpoint
    return CriuSettings(
        criu_path=section.criu_path,
        cuda_plugin_dir=None if section.cuda_plugin_dir is None else str(section.cuda_plugin_dir),
        cuda_checkpoint_path=section.cuda_checkpoint_path,
        log_dir=config.log_dir,
    )


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
