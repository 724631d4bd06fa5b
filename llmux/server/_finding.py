"""What is there of a replica before anything was begun with it: an engine that was left running, or a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable

from llmux.server._hands import Life
from llmux.server._model import Adopted, CheckpointFound, CheckpointUnusable, Event
from llmux.server._record import Replica
from llmux.server.errors import Problem

log = logging.getLogger(__name__)

Feed = Callable[[Replica, Event], None]


async def adopt(replica: Replica, feed: Feed, watch: Callable[[Replica, Life], None]) -> bool:
    """Take over the engine that an earlier llmux has left, with its checkpoint; say whether there is one."""
    adopted = await replica.hands.adopt()
    if not adopted:
        return False
    await _find(replica)
    replica.life, asleep = adopted
    watch(replica, replica.life)
    feed(replica, Adopted(asleep))
    return True


async def look(replica: Replica, feed: Feed) -> None:
    """Look for the checkpoint of a replica that has not been started."""
    await _find(replica)
    if replica.checkpoint_problem:
        feed(replica, CheckpointUnusable(replica.checkpoint_problem))
    elif replica.stored:
        feed(replica, CheckpointFound(replica.stored.eviction))


async def _find(replica: Replica) -> None:
    found = await replica.hands.find()
    if isinstance(found, Problem):
        log.warning("%s: no checkpoint that can be used: %s", replica.name, found)
        replica.stored, replica.checkpoint_problem = None, found
    else:
        replica.stored, replica.checkpoint_problem = found, None
