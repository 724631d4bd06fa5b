"""The end of llmux: requests in flight are answered, and every model comes to lie where its rules let it stay.

What is not done when the time is over, or when somebody hurries, is left to `Driver.close`: it gives up unfinished dumps
and ends what runs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import assert_never

from llmux.server._depth import KEPT, STOPPED, deeper_than
from llmux.server._driver import Driver
from llmux.server._model import (
    Asleep,
    Deepening,
    Draining,
    Eviction,
    Failed,
    GoingToSleep,
    NotStarted,
    Process,
    Running,
    Starting,
    Waking,
)
from llmux.server._record import Replica
from llmux.server._rules import Rules

log = logging.getLogger(__name__)

CLOSING = 5.0
"""Seconds of the whole time that are kept for ending what still runs."""


async def leave(driver: Driver, seconds: float, hurried: asyncio.Future[None], *, sleep: bool = True) -> None:
    """Take no more requests, let those in flight be answered, and put the models to sleep; return before `seconds` are over.

    It returns at once when `hurried` is done. Without `sleep`, engines are ended once their requests are answered.
    """
    driver.refuse_all()
    all_rules = ((replica, driver.models[replica.model].rules) for replica in driver.replicas)
    resting = asyncio.gather(
        *(_lay_down(driver, replica, rules, sleep=sleep) for replica, rules in all_rules)
    )
    await asyncio.wait((resting, hurried), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if not resting.done():
        why = "somebody hurries" if hurried.done() else f"{seconds:g} s are over"
        log.warning("%s: the models that are not yet at rest are ended", why)
        resting.cancel()
        await asyncio.wait((resting,))


def last_sleep(rules: Rules, eviction: Eviction) -> Eviction:
    """Return the lightest sleep that outlasts llmux, from one so deep on: no process that is kept does."""
    if eviction.process not in KEPT:
        return eviction
    return rules.deeper(eviction) or STOPPED


async def _lay_down(driver: Driver, replica: Replica, rules: Rules, *, sleep: bool) -> None:
    """Bring a replica to rest; one that is in the middle of something first ends that."""
    while True:
        match replica.state:
            case Running():
                to = _depth(replica, rules, rules.eviction, sleep=sleep)
            case Asleep(eviction=eviction):
                to = _depth(replica, rules, eviction, sleep=sleep)
                if to.process is not Process.CHECKPOINT or not deeper_than(to, eviction):
                    return
            case Draining() | GoingToSleep() | Deepening():
                await replica.until_asleep()
                continue
            case Waking(eviction=eviction) if eviction.process in KEPT and replica.operation:
                await asyncio.wait((replica.operation,))
                continue
            case Waking() | NotStarted() | Starting() | Failed():
                return
            case _:
                assert_never(replica.state)
        if problem := await driver.sleep_replica(replica, to):
            log.warning("%s: it could not be put to sleep (%s), and is ended: %s", replica.name, to, problem)
            return


def _depth(replica: Replica, rules: Rules, eviction: Eviction, *, sleep: bool) -> Eviction:
    to = last_sleep(rules, eviction) if sleep else STOPPED
    return STOPPED if replica.hands.refusal(to) else to
