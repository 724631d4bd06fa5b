"""The driver's calls, made by other processes, so that one that hangs can be ended: by ours, one for all calls, or by NVIDIA's cuda-checkpoint, one for each.

    async with calling(program) as call:
        said = await call(words, timeout)          the exit code and the output that cuda-checkpoint would have for these words

Ours is started at the first call. It loads the library and calls cuInit once for a whole sleep or wake, which takes a process of its own each time
0.2 to 1 s on a machine with GPUs. Where a call hangs it is ended, and the next call begins another.

Raises ProgramMissing and TookTooLong.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from llmux.server._effect_errors import TookTooLong
from llmux.server._process import Conversation, run
from llmux.server.cuda._command import SERVE

OURS = (sys.executable, "-P", "-m", "llmux.server.cuda")
"""Without the directory that llmux was started in on its path: it may be anybody's."""
_NAME = "llmux-cuda-checkpoint"
_END_GRACE = 2.0


@dataclass(frozen=True)
class Said:
    """What became of a call: an exit code, and both outputs."""

    code: int
    text: str


Call = Callable[[Sequence[str], float], Awaitable[Said]]
"""One call of the driver: its words, and the seconds that it may take."""


@asynccontextmanager
async def calling(program: tuple[str, ...]) -> AsyncIterator[Call]:
    """Give what makes calls by this program; nothing of it runs on afterwards."""
    if program != OURS:
        yield partial(_by_itself, program)
        return
    ours = _Ours()
    try:
        yield ours.call
    finally:
        await ours.end(_END_GRACE)


async def _by_itself(program: tuple[str, ...], words: Sequence[str], seconds: float) -> Said:
    done = await run((*program, *words), timeout=seconds, env=os.environ)
    return _said(done.code, (done.stdout + done.stderr).decode("utf-8", "replace"))


def _said(code: int, text: str) -> Said:
    return Said(code, text.strip() or (f"it ended with {code}" if code else ""))


class _Ours:
    """The process that makes one call after the other, as long as none hangs."""

    def __init__(self) -> None:
        self._process: Conversation | None = None
        self._answer: asyncio.Future[bytes]

    async def call(self, words: Sequence[str], seconds: float) -> Said:
        self._answer = asyncio.get_running_loop().create_future()
        process = self._process = self._process or await Conversation.start(
            (*OURS, SERVE), on_line=self._take
        )
        process.tell(" ".join(words).encode())
        await asyncio.wait(
            (self._answer, process.ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if self._answer.done():
            return _said(*json.loads(self._answer.result()))
        ended = process.ended.done()
        code = await self.end(grace=0)
        if ended:
            return _said(code, "")
        raise TookTooLong(_NAME, seconds)

    def _take(self, line: bytes) -> None:
        if not self._answer.done():
            self._answer.set_result(line)

    async def end(self, grace: float) -> int:
        """End it, if it runs: the next call begins another."""
        process, self._process = self._process, None
        return await process.end(grace) if process else 0
