"""Carries out what the policy decides: looks after each change, and at the time that the policy or a pause names."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from llmux.server import _calendar, _estimate, _view
from llmux.server._record import Model, Orders
from llmux.server._waits import Waits
from llmux.server.scheduling.account import Account
from llmux.server.scheduling.directed import directed
from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.policies import name_of_policy
from llmux.server.scheduling.ranking import waiting
from llmux.server.scheduling.snapshot import Action, Amounts, Deepen, Policy, Sleep, Snapshot, Wait, Wake

log = logging.getLogger(__name__)

_ROUNDS = 100
"""Decisions in a row without any time between; a policy that wants more contradicts itself."""
_BEFORE_LONG = 0.05
"""Seconds."""
_CALENDAR = 60.0
"""Seconds between looks at schedules at most: they go by the wall clock, which may be set."""


@dataclass(frozen=True)
class NodeStatus:
    """The node as it is scheduled."""

    policy: str
    bound: float | None
    """The seconds that no request waits longer for its model's turn, where the policy promises any."""
    capacity: Amounts
    held: Amounts
    """What replicas have of it, awake and asleep."""


class Scheduler:
    """Calls the policy. `poke` after every change, `note` where a request came or went; `close` in the end."""

    def __init__(
        self,
        models: Mapping[str, Model],
        policy: Policy,
        capacity: Amounts,
        act: Callable[[Action], None],
        refuse: Callable[[str, str], None],
    ) -> None:
        """`act` begins an action; `refuse` answers those who wait for a model that cannot be had, with the reason."""
        self._models = models
        self.orders = Orders()
        self._policy = policy
        self._capacity = capacity
        self._act = act
        self._refuse = refuse
        self._account = Account(at=time.monotonic())
        self._awake: tuple[str, ...] = ()
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._held = False
        self._schedules_at: float | None = None
        self._waits = Waits()

    def change(self, policy: Policy | None, capacity: Amounts) -> None:
        """Decide for another capacity from now on, and by another policy where one is given."""
        self._policy = policy or self._policy
        self._capacity = capacity
        self._schedules_at = None
        self.poke()

    def poke(self) -> None:
        """Decide at once: something has changed."""
        if self._soon is None and not self._closed and not self._held:
            self._soon = asyncio.get_running_loop().call_soon(self._decide)

    def note(self) -> None:
        """Decide before long: a request came or went. Where nobody waits, that is no haste, and there may be thousands a second."""
        if any(model.queue for model in self._models.values()):
            self.poke()
        elif self._later is None and not self._closed:
            self._later = asyncio.get_running_loop().call_later(_BEFORE_LONG, self.poke)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Decide nothing meanwhile, and then at once."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.poke()

    @property
    def policy(self) -> str:
        """Return the policy's name."""
        return name_of_policy(self._policy)

    def outlook(self, name: str | None) -> float:
        """Estimate the seconds until a model serves; without a name, any of those that somebody waits for."""
        snapshot = self._look()
        pauses = _view.pauses(self._models.values(), snapshot.now)
        if name is None:
            return _estimate.until_any_served(snapshot, pauses)
        return _estimate.until_served(snapshot, name, pauses)

    def node(self) -> NodeStatus:
        """Return what there is, who has it, and what is promised."""
        snapshot, policy = self._look(), self._policy
        held = {name: sum(each.holds.get(name, 0) for each in snapshot.replicas) for name in self._capacity}
        by_policy = not self.orders.manual
        bound = policy.bound(snapshot) if isinstance(policy, Fair) and by_policy else None
        return NodeStatus(self.policy, bound, self._capacity, held)

    def close(self) -> None:
        """Decide nothing any more."""
        self._closed = True
        self._forget(self._soon)
        self._forget(self._later)
        self._forget(self._timer)

    def _decide(self) -> None:
        self._forget(self._timer)
        self._forget(self._later)
        self._later = None
        self._heed_schedules()
        try:
            at = self._settle()
        finally:
            self._soon = None  # only now: what has just been done needs no second look
        changes = _view.next_change(self._models.values(), time.monotonic())
        self._look_again((at, changes, self._schedules_at))

    def _heed_schedules(self) -> None:
        """Note which models their schedules want awake, and when to look at the calendar again."""
        scheduled = [model for model in self._models.values() if model.schedules]
        if not scheduled or (self._schedules_at or 0.0) > time.monotonic():
            return
        now, ahead = datetime.now(UTC), _CALENDAR
        for model in scheduled:
            wish = _calendar.wanted(model.schedules, now)
            model.scheduled = wish.now
            if wish.changes_at:
                ahead = min(ahead, (wish.changes_at - now).total_seconds())
        self._schedules_at = time.monotonic() + ahead

    def _settle(self) -> float | None:
        """Carry out what the policy wants until it wants no more; return when it wants to look again."""
        for _ in range(_ROUNDS):
            snapshot = self._look()
            decisions = directed(self._policy, snapshot, manual=self.orders.manual)
            for model, why in decisions.hopeless.items():
                self._refuse(model, why)
            for action in decisions.actions:
                log.info("%s: %s: %s", action.replica, _told(action), action.why)
                self._act(action)
            if not decisions.actions:
                self._tell(decisions.waits, snapshot)
                return decisions.look_again_at
        log.critical("the policy does not come to rest: this is a fault of llmux")
        return None

    def _tell(self, waits: Iterable[Wait], snapshot: Snapshot) -> None:
        names = {demand.model for demand in waiting(snapshot)}
        for news in self._waits.news(waits, names, snapshot.now, self.policy):
            log.info("%s", news)

    def _look(self) -> Snapshot:
        """Return what there is now, having put to account who was awake since the last look."""
        now = time.monotonic()
        self._account = self._account.until(now, self._awake)
        self._awake = _view.awake(self._models.values())
        return _view.view(self._models.values(), self._capacity, self._account, now)

    def _look_again(self, times: Iterable[float | None]) -> None:
        at = min((each for each in times if each is not None), default=None)
        if at is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, at - time.monotonic()), self.poke)

    def _forget(self, handle: asyncio.Handle | None) -> None:
        if handle:
            handle.cancel()


def _told(action: Action) -> str:
    match action:
        case Wake():
            return "to be woken"
        case Sleep():
            return "to be put to sleep"
        case Deepen():
            return "to sleep deeper"
        case _:
            assert_never(action)
