"""Whether a Python that an engine is started by finds the module that it is to run: a Python by itself is no engine.

    module = module_of(argv)          `python3 -m sglang.launch_server ...`: the interpreter, its options, the module; pure
    await lack(module, env)           why it cannot run that, or nothing

The interpreter is asked, in a process of its own and with the engine's environment: it may be another one than llmux's, with other packages.
It imports the packages that the module is in, and not the module, which would begin to serve.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmux.server._effect_errors import EffectError
from llmux.server._process import run

_INTERPRETER = re.compile(r"(python|pypy)[\d.]*t?")
_WITH_VALUE = frozenset({"-W", "-X"})
_SWITCH = re.compile(r"-[bBdEiIOPqsSuvx]+")
_TIMEOUT = 60.0
_EXCERPT = 300
_ASK = """
import posix, sys
posix.chdir("/")
import importlib.util
try:
    found = importlib.util.find_spec(sys.argv[1])
except BaseException as error:
    sys.exit(f"{type(error).__name__}: {error}")
sys.exit(None if found else f"there is no module {sys.argv[1]}")
"""
"""It looks for modules where engines start, and not where llmux was started; a package may print while it is imported: the last line is ours."""


@dataclass(frozen=True)
class Module:
    """A module that a Python runs."""

    python: tuple[str, ...]
    """The interpreter and its options."""
    name: str

    def __str__(self) -> str:
        return " ".join((*self.python, "-m", self.name))


def module_of(argv: Sequence[str]) -> Module | None:
    """Return the module that a command line has a Python run; None where it does something else."""
    program, *words = argv
    if not _INTERPRETER.fullmatch(program.rpartition("/")[2]):
        return None
    options = [program]
    rest = iter(words)
    for word in rest:
        if word == "-m":
            name = next(rest, "")
            return Module(tuple(options), name) if name else None
        if word not in _WITH_VALUE and not _SWITCH.fullmatch(word):
            return None
        options.append(word)
        if word in _WITH_VALUE:
            options.append(next(rest, ""))
    return None


async def lack(module: Module, env: Mapping[str, str]) -> str:
    """Return why this Python, which is there, cannot run the module; nothing where it can, or takes too long to say."""
    quiet = {**env, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = await run((*module.python, "-c", _ASK, module.name), timeout=_TIMEOUT, env=quiet)
    except EffectError:
        return ""
    if done.code == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1][:_EXCERPT] if said else f"it ended with {done.code}"
