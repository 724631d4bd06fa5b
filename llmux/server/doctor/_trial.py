"""Has CRIU dump and restore a small process here, as llmux has it do with an engine."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path

from llmux.criu_images import CriuImagesError, finish
from llmux.server import _criu
from llmux.server._criu import CriuSettings
from llmux.server._effect_errors import CriuFailed, EffectError
from llmux.server._sandbox import Command, Isolation, Sandbox
from llmux.server.doctor._facts import Failure, Trial, Wanted

_NAME = "doctor"
_PROGRAM = ("sleep", "3600")
_SECONDS = 60.0
"""For either; the process has a page or two."""
_FREEZE = 10


async def dump_and_restore(wanted: Wanted) -> Trial:
    """Try both in sandboxes of their own; leaves nothing behind."""
    directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="llmux-doctor-"))
    try:
        return await _tried(_settings(wanted, directory), directory)
    finally:
        await asyncio.to_thread(shutil.rmtree, directory)


def _settings(wanted: Wanted, directory: Path) -> CriuSettings:
    return CriuSettings(
        criu_path=wanted.criu_path,
        cuda_plugin_dir=wanted.cuda_plugin_dir,
        cuda_checkpoint_path=wanted.cuda_checkpoint_path,
        log_dir=directory / "log",
        run_dir=directory / "run",
        freeze_timeout=_FREEZE,
        dump_timeout=_SECONDS,
        restore_timeout=_SECONDS,
    )


async def _tried(settings: CriuSettings, directory: Path) -> Trial:
    images, began = directory / "images", time.monotonic()
    try:
        await asyncio.to_thread(images.mkdir)
        pid = await _dump(settings, images, directory / "output")
    except (EffectError, OSError) as error:
        return Trial(dump=_failure(error))
    dumped, began = time.monotonic() - began, time.monotonic()
    try:
        await _restore(settings, images, pid)
    except (EffectError, CriuImagesError, OSError) as error:
        return Trial(restore=_failure(error), dump_seconds=dumped)
    return Trial(dump_seconds=dumped, restore_seconds=time.monotonic() - began)


async def _dump(settings: CriuSettings, images: Path, output: Path) -> int:
    """Start the process and dump it; return its id."""
    async with await Sandbox.create(Isolation()) as sandbox:
        child = await sandbox.start_engine(Command(_PROGRAM, {"PATH": _path()}, "/", output))
        await _criu.dump(settings, sandbox, child.pid, images, _NAME)
        return child.pid


async def _restore(settings: CriuSettings, images: Path, pid: int) -> None:
    async with await Sandbox.create(Isolation()) as sandbox:
        await _criu.restore(settings, sandbox, images, max_id=pid, name=_NAME)
        await asyncio.to_thread(finish, images)


def _path() -> str:
    return os.environ.get("PATH", os.defpath)


def _failure(error: EffectError | CriuImagesError | OSError) -> Failure:
    match error:
        case CriuFailed():  # the log that it names is gone when this is read
            return Failure("; ".join(dict.fromkeys((error.reason, *error.errors))), error.hint)
        case EffectError() | CriuImagesError():
            return Failure(error.what(), error.hint)
        case _:
            return Failure(str(error))
