"""Places among the models that may be awake together: first come, first served, and somebody sleeps for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from llmux.server import _policy
from llmux.server._model import Draining, GoingToSleep, Running
from llmux.server._record import Model
from llmux.server.errors import Problem


@dataclass(eq=False)
class NoPlaceError(Exception):
    """Every awake model has refused to sleep."""

    name: str
    holders: tuple[str, ...]

    def problem(self) -> Problem:
        """Return the same as a value."""
        message = f"no place for {self.name}: {', '.join(self.holders)} could not be put to sleep"
        return Problem("no_room", message, "GET /control/status says why; raise max_awake, or ask again")


class Places:
    """Who is awake, and the queue of those who want to be."""

    def __init__(
        self,
        models: Mapping[str, Model],
        max_awake: int | None,
        put_to_sleep: Callable[[Model], Awaitable[Problem | None]],
    ) -> None:
        """`put_to_sleep` returns once the model sleeps, or with the problem why it does not."""
        self._models = models
        self._max_awake = max_awake
        self._put_to_sleep = put_to_sleep
        self._queue: list[Model] = []
        self._changed = asyncio.Event()

    def tell_change(self) -> None:
        """Let those who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def enter(self, model: Model) -> None:
        """Return once `model` has a place. Raises NoPlaceError."""
        if model.has_place:
            return
        self._queue.append(model)
        refused: set[str] = set()
        try:
            while not await self._try(model, refused):
                pass
        finally:
            self._queue.remove(model)
            self.tell_change()

    async def _try(self, model: Model, refused: set[str]) -> bool:
        if self._queue[0] is not model:
            await self._changed.wait()
            return False
        holders = tuple(_seen(other) for other in self._models.values() if other.has_place)
        match _policy.make_room(holders, self._max_awake, frozenset(refused)):
            case _policy.Enter():
                model.has_place = True
                return True
            case _policy.PutAway(name):
                if await self._put_to_sleep(self._models[name]):
                    refused.add(name)
            case _policy.Wait():
                await self._changed.wait()
            case _policy.Full(names):
                raise NoPlaceError(model.name, names)
        return False


def _seen(model: Model) -> _policy.Sleeper:
    state = model.state
    return _policy.Sleeper(
        name=model.name,
        can_sleep=isinstance(state, Running),
        leaving=isinstance(state, Draining | GoingToSleep),
        in_flight=state.in_flight if isinstance(state, Running) else 0,
        last_used=model.last_used,
    )
