"""What the driver needs done for one model, without saying how: `_life.py` does it with sandboxes and CRIU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from llmux.server._model import Eviction, Weights
from llmux.server._wire import Asking
from llmux.server.cuda.devices import Devices
from llmux.server.errors import Problem


@dataclass(frozen=True)
class Stored:
    """A published checkpoint, as the driver and /control know it. Times in seconds since the epoch."""

    path: Path
    size_bytes: int
    created_at: float
    generation: int
    eviction: Eviction
    """The sleep that it was made by."""
    seconds: float
    """How long the sleep took that made it."""


class Life(Protocol):
    """An engine that runs, and all that belongs to it."""

    @property
    def url(self) -> URL:
        """Where it answers."""

    @property
    def session(self) -> aiohttp.ClientSession:
        """What llmux's own requests and WebSockets go to it through."""

    def ask(self, method: str, target: str, headers: CIMultiDict[str], body: bytes) -> Asking:
        """Ask it what a client asks: `target` is the path and query as they are written."""

    @property
    def pid(self) -> int:
        """The engine's process id inside its sandbox."""

    @property
    def init_pid(self) -> int:
        """The process id of its sandbox's init, as llmux sees it."""

    @property
    def started_at(self) -> float:
        """When the engine was started cold, be it in another container."""

    @property
    def log(self) -> Path:
        """The file it writes its output to."""

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""

    async def wait(self) -> Problem:
        """Wait until its process is gone; say why, as far as its log tells."""

    async def fault(self) -> str:
        """Ask its /health once; say what is wrong, or nothing."""

    async def post_mortem(self, fault: str) -> Problem:
        """Say why it is lost that has this fault, as far as its log tells."""

    async def quieten(self, weights: Weights) -> None:
        """Make it let go of its weights, as far as `weights` says."""

    async def suspend(self, weights: Weights) -> None:
        """Take all that it has on GPUs into host memory, once it has been made quiet; it is as before where this fails."""

    async def resume(self, weights: Weights) -> None:
        """Make it serve again after `quieten` or `suspend`, or make sure that it does."""

    async def put_by(self) -> None:
        """Have it write down what its next start can take up, before it is stopped; that it cannot is no reason not to."""

    async def dump(self, directory: Path) -> Devices | None:
        """Write it to `directory`; it is gone afterwards, and serves on where this fails. Return the GPUs that it has left, if any."""

    async def memory(self) -> int:
        """Return how many bytes of host memory it has to itself."""

    async def gpu_memory(self) -> int | None:
        """Return how many bytes it has on that GPU where it has most; None where it has none, or nobody tells."""

    async def close(self) -> None:
        """End everything that belongs to it. May be called again."""


class Hands(Protocol):
    """One model's work. Each step raises an error with what happened and what to do where it fails."""

    def refusal(self, eviction: Eviction) -> str:
        """Say why a sleep of this depth cannot work on this machine, or nothing."""

    async def adopt(self) -> tuple[Life, Eviction | None] | None:
        """Take over the engine that an earlier llmux has left running; say how it sleeps, if it does. To be done before `find`."""

    def take(self, life: Life) -> None:
        """Have an engine that other hands of this replica have started come back on the GPUs that these have for it."""

    async def find(self) -> Stored | Problem | None:
        """Look for a checkpoint that may be restored, or say why what lies there is none."""

    async def cold_start(self) -> Life:
        """Start the engine and wait until it serves; leave nothing behind where that fails."""

    async def dump(self, life: Life, eviction: Eviction, began: float) -> Stored:
        """Write the engine to disk and publish that; it is gone afterwards, and serves on where this fails.

        `began` is when its sleep began, by the monotonic clock.
        """

    async def reusable(self, life: Life, eviction: Eviction) -> Stored | None:
        """Return the checkpoint that this engine was restored from, if another by this sleep would be the same again."""

    async def restore(self) -> tuple[Life, Stored | None]:
        """Bring the engine back and wait until it serves; leave nothing behind where that fails.

        Return it, and what is left of the checkpoint: nothing where images are not kept.
        """

    async def forget(self) -> None:
        """Remove its checkpoint."""
