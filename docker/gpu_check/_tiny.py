"""The tiny engine with its weights on a GPU, alone and suspended from outside."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gpu_check._children import CaseFailed, child, output
from gpu_check._http import Server, free_port
from gpu_check._results import Numbers
from gpu_check._suspending import Program, often
from gpu_check._task import Task

MODEL = "lighthouse"


def trained(python: str, place: Path) -> Path:
    """Make a model, where it is not there yet. Raises CaseFailed."""
    model = place / "model"
    if not model.exists():
        output((python, "-m", "llmux.tiny_engine", "train", str(model), "--epochs", "1"), 300)
    return model


def suspended_often(task: Task) -> Numbers:
    """Have an engine leave its GPU and come back; each time it compares every byte, and answers as before. Raises CaseFailed."""
    python, place = task.facts.programs.python, task.place
    model, server = trained(python, place), Server(free_port())
    argv = (python, "-m", "llmux.tiny_engine", "serve", str(model), "--served-model-name", MODEL)
    options = ("--port", str(server.port), "--device", "cuda", "--device-bytes", str(task.size))
    files = ("--log-file", str(place / "engine.log"), "--cache-dir", str(place / "cache"))
    with child((*argv, *options, *files), place / "tiny.log") as engine:
        engine.until(lambda: server.answers("/health"), "the engine is healthy")
        wanted = server.chat(MODEL)

        def as_before() -> None:
            server.ask("/device")
            if (found := server.chat(MODEL)) != wanted:
                raise CaseFailed(f"it answers {found}, and {wanted} before")

        worker = int(str(server.ask("/instance")["worker_pid"]))
        try:
            return often(task, worker, Program(), as_before)
        except CaseFailed as error:
            with suppress(OSError):
                error.log = error.log or (place / "engine.log").read_text("utf-8", "replace")[-3000:]
            raise
