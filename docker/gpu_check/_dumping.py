"""CRIU writes a process with CUDA state to disk and brings it back: suspended before by llmux's program, or by CRIU's plugin."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from gpu_check._children import ROOT, CaseFailed, adopt_orphans, kill_session, output
from gpu_check._results import Numbers, Round
from gpu_check._suspending import Holder, Program, holder
from gpu_check._task import Task

_OURS = ROOT / "llmux/server/cuda/bin"
_BOTH = ("--no-default-config", "-v4", "--manage-cgroups=ignore", "--file-locks", "--ext-unix-sk")
_DUMP = ("--link-remap", "--network-lock", "skip", "--ghost-limit", "1G")
_TIMEOUT = 900.0
_ROUNDS = 3
_DUMPED_WITHIN = 30.0
_AT_WORK = "initialized: cuda_plugin"


def suspended_before(task: Task) -> Numbers:
    """Dump a process that llmux's program has suspended, with no plugin at work. Raises CaseFailed."""
    return _often(task, None)


def by_plugin(task: Task) -> Numbers:
    """Dump a process that runs on its GPU, by CRIU's plugin for CUDA. Raises CaseFailed."""
    return _often(task, task.facts.programs.plugin_dir)


def _often(task: Task, plugins: str | None) -> Numbers:
    """Dump and restore a holder, each time the process that the last restore has made."""
    adopt_orphans()
    done: list[Round] = []
    with holder(sys.executable, "holder.py", task.place, task.size) as held:
        wanted = held.looks()["checksum"]
        try:
            for number in range(min(task.rounds, _ROUNDS)):
                images = task.place / f"images-{number}"
                images.mkdir()
                done.append(_once(task.facts.programs.criu, plugins, held, images))
                if (found := _looks(held)) != wanted:
                    raise CaseFailed(f"its memory has changed: the checksum is {found}, not {wanted}")
        finally:
            kill_session(held.pid)
    return Numbers(task.size, tuple(done))


def _once(criu: str, plugins: str | None, held: Holder, images: Path) -> Round:
    by, nothing = Program(), images / "no-plugins"
    nothing.mkdir()
    libraries = plugins or str(nothing)
    began = time.monotonic()
    if plugins is None:
        by.suspend(held.pid)
    try:
        _criu(criu, "dump", images, libraries, *_DUMP, "--tree", str(held.pid))
    except CaseFailed:
        if plugins is None:
            by.resume(held.pid)
        raise
    if plugins is not None:
        _check_at_work(images / "dump.log")
    held.child.wait_for_end(_DUMPED_WITHIN)
    out, began = time.monotonic() - began, time.monotonic()
    _criu(criu, "restore", images, libraries, "--restore-detached")
    if plugins is None:
        by.resume(held.pid)
    return Round(out, time.monotonic() - began)


def _check_at_work(log: Path) -> None:
    """Raise CaseFailed where the plugin has switched itself off, which it does without a word to CRIU's caller."""
    text = log.read_text("utf-8", "replace")
    if _AT_WORK not in text:
        told = "\n".join(line for line in text.splitlines() if "cuda_plugin" in line)
        raise CaseFailed("CRIU's plugin for CUDA was not at work", told)


def _criu(criu: str, command: str, images: Path, plugins: str, *more: str) -> None:
    """Run it; the plugin finds `cuda-checkpoint` along PATH, NVIDIA's before ours."""
    log = f"{command}.log"
    argv = (criu, command, *_BOTH, "--images-dir", str(images), "--log-file", log, "--libdir", plugins, *more)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(_OURS)])
    try:
        output(argv, _TIMEOUT, PATH=path, LLMUX_PYTHON=sys.executable)
    except CaseFailed as error:
        written = images / log
        error.log = written.read_text("utf-8", "replace")[-4000:] if written.exists() else ""
        raise


def _looks(held: Holder) -> object:
    """Return the checksum of a process that is no longer our child, once it has looked at its memory anew."""
    seen, end = held.rounds(), time.monotonic() + 300
    while held.rounds() < seen + 2:
        if time.monotonic() > end or not Path(f"/proc/{held.pid}").exists():
            raise CaseFailed("the restored process does not go on")
        time.sleep(0.05)
    told = held.told()
    if told["lost"]:
        raise CaseFailed(str(told["lost"]))
    return told["checksum"]
