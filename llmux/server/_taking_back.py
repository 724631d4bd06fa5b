"""What follows on a restore that failed: what it left running ends, and what the hook rebuilt is undone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmux.server._effect_errors import EffectError
from llmux.server._process import run
from llmux.server._sandbox import Sandbox

_UNDO_TIMEOUT = 120.0
_TRIES, _PAUSE = 20, 0.1
"""Whoever went into a sandbox from here ends a moment after it, and is taken for its tree until then."""


async def take_back(sandbox: Sandbox, directory: Path, log: Path, env: Mapping[str, str]) -> str:
    """Take a failed restore from `directory` back; return what is left of it and why, or nothing."""
    # -P: whatever directory llmux was started in, nothing in it is taken for a module.
    argv = (sys.executable, "-P", "-m", "llmux.criu_images", "undo", str(directory))
    sandbox.clear()
    try:
        code = await sandbox.run(argv, log=log, timeout=_UNDO_TIMEOUT, env=env)
    except EffectError as error:
        left, cut_short = error.what(), True
    else:
        left, cut_short = f"`{' '.join(argv)}` ended with {code}" if code else "", code < 0
    # With a sandbox its mounts and private directories have gone; all else that was made is seen from here too.
    return await _undo_outside(argv) if cut_short and sandbox.ended.done() else left


async def _undo_outside(argv: Sequence[str]) -> str:
    for _ in range(_TRIES):
        try:
            done = await run(argv, timeout=_UNDO_TIMEOUT)
        except EffectError as error:
            return error.what()
        if done.code == 0:
            return ""
        await asyncio.sleep(_PAUSE)
    said = done.stderr.decode("utf-8", "replace").strip()
    return f"`{' '.join(argv)}` ended with {done.code}: {said}"
