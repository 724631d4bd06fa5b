"""What the configured models cannot do without on this machine, and do not find: criu where they sleep on disk, their engines' programs, their files.

    sleepers(config)                     whose configured sleep is one to disk; pure
    without_criu(config, lack)           what a lack of criu means to them, where it means anything; pure
    find(config, environ)                each engine's program, who needs it, and where it is; the paths that models are read from
    await look(config, environ)          the same, whether a Python finds the module that it is to run, whether criu can work, and all that is unmet
    doctor(file)                         what to do next about any of it

`llmux serve`, `llmux doctor` and `llmux validate --here` ask here, so that none of them approves what another refuses.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmux.server import _criu, _modules, engines
from llmux.server._criu import CriuSettings
from llmux.server._inherited import inherited
from llmux.server._modules import Module, module_of
from llmux.server._sandbox import Command
from llmux.server.config import Config, ModelConfig
from llmux.server.errors import ServerError


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
    module: Module | None = None
    """What it is to run, where it is a Python."""
    env: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    """Why it cannot run that, where it was tried."""

    @property
    def unmet(self) -> Unmet | None:
        """Return that it is not there, or is a Python without the engine, where that is so."""
        stopped = f"{_listed(self.models)} cannot start without it"
        if self.place is None:
            where = f"no program {self.name}" + ("" if "/" in self.name else " on PATH")
            return Unmet(f"{where}: {stopped}", _MENDS.get(self.name, _MEND))
        if self.module and self.fault:
            mend = _MENDS_OF_MODULES.get(self.engine, _MEND_OF_MODULE)
            return Unmet(
                f"{self.place} cannot run {self.module.name}, and {stopped}: {self.fault}",
                mend,
            )
        return None


@dataclass(frozen=True)
class Source:
    """Where an engine is told to read its model from, by a path."""

    model: str
    said: str
    """`model_path` of the configuration."""
    path: Path
    """The same, absolute."""
    absence: str = ""
    """Why there is nothing to be read, where that is so."""

    @property
    def unmet(self) -> Unmet | None:
        """Return that nothing is there, where that is so."""
        if not self.absence:
            return None
        beside = (
            "" if self.path == Path(self.said) else f" ({self.said} is taken from /, where engines start)"
        )
        mend = f"Correct model_path{beside}, or mount it here"
        return Unmet(f"{self.path} {self.absence}: {self.model} cannot start without it", mend)


_PATHS = ("/", "./", "../")
"""What a model's path begins with; anything else may be a name in a cache or on a hub."""
_MEND = "Install it here, or name it by its whole path"
_MENDS = {
    "vllm": "Install vLLM here, name it by its whole path (vllm_command), or run llmux in the image llmux:vllm"
}
_MEND_OF_MODULE = "Install it for that Python, or name another Python by its whole path"
_MENDS_OF_MODULES = {
    "vllm": "Install vLLM for that Python, or name the Python that has it by its whole path (vllm_command)",
    "sglang": "Install SGLang for that Python, or name the Python that has it by its whole path (program)",
}
_OURS = "llmux"
"""Of the modules that are here with llmux itself."""


def doctor(file: Path) -> str:
    """Return what to do next where this machine cannot serve the configuration in `file`."""
    return f"`llmux doctor --config {shlex.quote(str(file))}` says what mends it"


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


def find(config: Config, environ: Mapping[str, str]) -> Here:
    """Look for what each engine that runs here is started with, where a sandbox would with `environ`."""
    commands = [
        (name, model, engines.make(name, model, Path(os.devnull)).command(environ))
        for name, model in config.models.items()
        if model.runs_here
    ]
    programs = (_program(name, model, command) for name, model, command in commands)
    sources = (
        _source(name, model.model_path, command.cwd)
        for name, model, command in commands
        if model.model_path.startswith(_PATHS) and any(model.model_path in word for word in command.argv)
    )
    return Here(tuple(_joined(programs)), tuple(sources))


def _program(name: str, model: ModelConfig, command: Command) -> Program:
    program = command.argv[0]
    sought = f"{command.cwd}/{program}" if "/" in program and program[0] != "/" else program
    place = shutil.which(sought, path=command.env.get("PATH", os.defpath))
    module = module_of((place, *command.argv[1:])) if place else None
    return Program(model.engine, program, (name,), place, module, command.env if module else {})


def _source(model: str, said: str, begin: str) -> Source:
    path = Path(begin, said)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Source(model, said, path, "does not exist")
    except OSError as error:
        return Source(model, said, path, f"cannot be read ({error.strerror})")
    return Source(model, said, path)


def _joined(programs: Iterable[Program]) -> Iterator[Program]:
    """Yield each once, with all who need it."""
    rest = list(programs)
    while rest:
        same = [each for each in rest if replace(each, models=rest[0].models) == rest[0]]
        yield replace(same[0], models=tuple(name for each in same for name in each.models))
        rest = [each for each in rest if each not in same]


@dataclass(frozen=True)
class Here:
    """What the configured models need, as it is here."""

    programs: tuple[Program, ...]
    sources: tuple[Source, ...]
    criu: Unmet | None = None

    @property
    def unmet(self) -> tuple[Unmet, ...]:
        """Return everything that is."""
        needs: tuple[Program | Source, ...] = (*self.programs, *self.sources)
        return tuple(filter(None, (self.criu, *(each.unmet for each in needs))))


async def look(config: Config, environ: Mapping[str, str]) -> Here:
    """Look for it all, and try what can be tried; changes nothing."""
    criu = without_criu(config, await _lack(config)) if sleepers(config) else None
    found = await asyncio.to_thread(find, config, inherited(config, environ))
    return replace(found, programs=tuple(await asyncio.gather(*map(_tried, found.programs))), criu=criu)


async def _tried(program: Program) -> Program:
    module = program.module
    if module is None or module.name.partition(".")[0] == _OURS:
        return program
    return replace(program, fault=await _modules.lack(module, program.env))


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
