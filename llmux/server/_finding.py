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
    found = await replica.hands.find()
    replica.stored = None if isinstance(found, Problem) else found
    replica.life, asleep = adopted
    watch(replica, replica.life)
    feed(replica, Adopted(asleep))
    return True


async def look(replica: Replica, feed: Feed) -> None:
    """Look for the checkpoint of a replica that has not been started."""
    found = await replica.hands.find()
    if isinstance(found, Problem):
        replica.checkpoint_problem = found
        log.warning("%s: no checkpoint that can be used: %s", replica.name, found)
        feed(replica, CheckpointUnusable(found))
    elif found:
        replica.stored = found
        feed(replica, CheckpointFound(found.eviction))
