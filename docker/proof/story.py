"""The story itself, in the pieces that every case is told with: serve, put to sleep, remove, wake elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from proof.bench import MODEL, Node
from proof.client import Document, Identity


class WrongError(AssertionError):
    """The story went another way than promised."""


@dataclass(frozen=True)
class Sleeper:
    """What is known of a model from before its sleep: a restored one gives the same answer and is the same instance."""

    model: str
    identity: Identity
    answer: str
    checkpoint: Document = field(default_factory=dict)
    """What llmux said of the checkpoint."""


def remember(node: Node, model: str = MODEL) -> Sleeper:
    """Chat with a model and return what is to be found again after its sleep."""
    return Sleeper(model, answer=node.llmux.chat(model), identity=node.identity(model))


def put_to_sleep(node: Node, model: str = MODEL) -> Sleeper:
    """Chat with a model, put it to sleep, and return what is to be found again. Raises WrongError."""
    sleeper = remember(node, model)
    return replace(sleeper, checkpoint=checkpoint_of(node.llmux.sleep(model)))


def checkpoint_of(status: Document) -> Document:
    """Return the checkpoint that a model's status names. Raises WrongError where the model doesn't sleep in one."""
    checkpoint: Document | None = status.get("checkpoint")
    if status.get("state") != "asleep" or not checkpoint:
        raise WrongError(f"the model should sleep in a checkpoint, but llmux says: {status}")
    return checkpoint


def check_restored(node: Node, sleeper: Sleeper) -> None:
    """Raise WrongError unless the model, awake, is the very one that was put to sleep, and llmux says so."""
    status = node.llmux.status(sleeper.model)
    if how_woken(status) != "restored":
        raise WrongError(f"llmux didn't restore {sleeper.model}: {status}")
    identity = node.identity(sleeper.model)
    if identity != sleeper.identity:
        raise WrongError(f"not the engine that was put to sleep: {identity} instead of {sleeper.identity}")
    answer = node.llmux.chat(sleeper.model)
    if answer != sleeper.answer:
        raise WrongError(f"another answer than before the sleep: {answer!r} instead of {sleeper.answer!r}")


def check_cold_start(node: Node, sleeper: Sleeper, reason: str) -> None:
    """Raise WrongError unless the model serves after a cold start for which llmux gives a reason that names `reason`."""
    status = node.llmux.status(sleeper.model)
    if how_woken(status) != "cold_start" or reason not in status["last_wake"]["reason"]:
        raise WrongError(f"{sleeper.model} should have been started cold because of {reason}: {status}")
    if node.identity(sleeper.model) == sleeper.identity:
        raise WrongError("the engine that was put to sleep serves, after what llmux calls a cold start")
    answer = node.llmux.chat(sleeper.model)
    if answer != sleeper.answer:
        raise WrongError(f"another answer than before the sleep: {answer!r} instead of {sleeper.answer!r}")


def how_woken(status: Document) -> str:
    """Return how the model was last woken, in llmux's words: `restored` or `cold_start`."""
    wake: Document = status.get("last_wake") or {}
    return str(wake.get("kind"))


def wake_and_check(node: Node, sleeper: Sleeper) -> None:
    """Wake a model by the control call and check that it is the one that was put to sleep. Raises WrongError."""
    node.llmux.wake(sleeper.model)
    check_restored(node, sleeper)
