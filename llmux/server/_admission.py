"""The way of a request to an engine: it waits in its model's queue, is given to a replica that serves, and comes back.

A request is in one place only: waiting in the queue, in flight at one replica, or answered. Whoever waits is told in
the end: of an engine, of the reason why there is none, or that its time is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from llmux.server._control_errors import RequestCancelled, UnknownRequest
from llmux.server._model import (
    CutInFlight,
    Drained,
    Draining,
    Event,
    Failed,
    Running,
    Starting,
    WakeKind,
    Waking,
    name_of,
)
from llmux.server._queue import Admission, Caller, Errand, Place, Ticket
from llmux.server._record import Model, Replica
from llmux.server._scheduler import Scheduler
from llmux.server._view import given_up
from llmux.server.errors import (
    ModelUnavailable,
    Problem,
    QueueFull,
    RequestTimedOut,
    ServerError,
    UnknownModel,
)

_COME_AGAIN = (
    "Ask again in the seconds of Retry-After, or raise max_waiting of the model's `queue`, or of all models'"
)
BY_HAND = Problem(
    "manual_mode",
    "it does not serve, and models are woken by hand only",
    "POST /control/wake or /control/switch brings it to serve; PUT /control/mode has the policy decide again",
)
DRAINED = Problem(
    "drained", "no new request is let in", "POST /control/undrain lets them in again; ask again later"
)
_SENT_AGAIN = "Send it again only where that is wanted"
_WAKES = {WakeKind.RESTORED: "restored", WakeKind.COLD_START: "cold", WakeKind.WARM: "warm"}


class Admissions:
    """Every model's queue, and who is let in and out of it."""

    def __init__(
        self,
        models: Mapping[str, Model],
        scheduler: Scheduler,
        feed: Callable[[Replica, Event], None],
        max_waiting: int,
    ) -> None:
        """`feed` tells a replica's machine of its last request; the scheduler is told that somebody waits, comes or has gone."""
        self._models = models
        self._orders = scheduler.orders
        self._feed = feed
        self._poke, self._note = scheduler.poke, scheduler.note
        self._max_waiting = max_waiting
        self._outlook = scheduler.outlook

    def admit(
        self,
        model: Model,
        place: Place | None,
        caller: Caller,
        replica: str | None = None,
        priority: int = 0,
    ) -> AbstractAsyncContextManager[Admission]:
        """Give an engine to one request: a new one, or one that has its place in the queue already.

        `replica` is whose it is to be, if that one serves; `priority` is added to the model's.
        Raises QueueFull, RequestTimedOut, ModelUnavailable, and UnknownModel where it ceases to be configured meanwhile.
        """
        now = time.monotonic()
        admitted: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        ticket = Ticket(place or Place(now, now), model.rules.priority + priority, admitted, caller, replica)
        return _Admitting(self, model, ticket, new=place is None)

    def enter(self, model: Model, ticket: Ticket, *, new: bool) -> None:
        """Give a request an engine at once where one serves, and let it wait otherwise. Raises as `admit`."""
        if ticket.caller.errand is Errand.REQUEST:
            self._check_orders(model, new=new)
        if not model.queue and (free := _least_busy(model, ticket.replica)):
            self._take(free, ticket)
        else:
            if new:
                self._check_room(model)
            self._check_hope(model)
            model.queue.add(ticket)
            self.dispatch(model)
            if not ticket.admitted.done():
                self._poke()
        model.at_rest_by_hand = False

    def dispatch(self, model: Model) -> None:
        """Give those who wait to the replicas that serve."""
        while model.queue and (free := _least_busy(model, model.queue[0].replica)):
            self._take(free, model.queue.take())

    def refuse(self, model: Model, problem: Problem) -> None:
        """Tell everybody who waits for the model why it cannot be had."""
        if not model.queue:
            return
        retry_after = self._outlook(model.name)
        _tell_waiting(model, lambda: ModelUnavailable(model.name, problem, retry_after))

    def dismiss(self, model: Model, known: tuple[str, ...]) -> None:
        """Tell everybody who waits for the model that it is configured no longer; `known` are those that are."""
        hint = "The configuration was reloaded without it; GET /v1/models lists the names"
        _tell_waiting(model, lambda: UnknownModel(model.name, known, hint=hint))

    def limit(self, max_waiting: int) -> None:
        """Bound the requests that wait for any model otherwise from now on."""
        self._max_waiting = max_waiting

    def cancel(self, name: str) -> Model:
        """End the request of this id, wherever it is. Raises UnknownRequest."""
        for model in self._models.values():
            error = RequestCancelled(model.name, hint=_SENT_AGAIN)
            for ticket in model.queue:
                if ticket.caller.id == name and not ticket.admitted.done():
                    model.queue.remove(ticket)
                    ticket.admitted.set_exception(error)
                    return model
            for replica in model.replicas:
                for ticket, cut in replica.flights.items():
                    if ticket.caller.id == name and not cut.done():
                        cut.set_result(CutInFlight(error.problem(), cancelled=True))
                        return model
        raise UnknownRequest(name, hint="GET /control/requests lists them")

    def heed_orders(self) -> None:
        """Refuse the requests that wait for what is done by hand only, and that nobody has done."""
        for model in self._models.values():
            if self._orders.manual and not _on_its_way(model):
                for ticket in tuple(model.queue):
                    if ticket.caller.errand is Errand.REQUEST and not ticket.admitted.done():
                        model.queue.remove(ticket)
                        ticket.admitted.set_exception(ModelUnavailable(model.name, BY_HAND))

    def refuse_unless_served(self, model: Model, problem: Problem) -> None:
        """Do so unless another replica of it is there, or on its way, or will be of another configuration."""
        if not any(
            isinstance(each.state, Running | Draining | Starting | Waking) or each.becomes
            for each in model.replicas
        ):
            self.refuse(model, problem)

    def _check_orders(self, model: Model, *, new: bool) -> None:
        """Refuse what somebody has said by hand not to let in. Raises ModelUnavailable."""
        if new and (self._orders.draining or model.draining):
            raise ModelUnavailable(model.name, DRAINED)
        if self._orders.manual and not _on_its_way(model):
            raise ModelUnavailable(model.name, BY_HAND)

    def _check_room(self, model: Model) -> None:
        waiting = len(model.queue)
        if waiting >= model.rules.max_waiting:
            raise QueueFull(model.name, waiting, "it", self._outlook(model.name), hint=_COME_AGAIN)
        waiting = sum(len(each.queue) for each in self._models.values())
        if waiting >= self._max_waiting:
            raise QueueFull(
                model.name, waiting, "the models of this node", self._outlook(None), hint=_COME_AGAIN
            )

    def _check_hope(self, model: Model) -> None:
        """Refuse at once where no replica is started again by itself. Raises ModelUnavailable."""
        failed = [
            each.state
            for each in model.replicas
            if isinstance(each.state, Failed)
            and given_up(each.state, model.rules.restart)
            and not each.becomes
        ]
        if len(failed) == len(model.replicas):
            last = failed[-1]
            message = f"it has failed {last.failures} times in a row: {last.why.message}"
            hint = "POST /control/wake starts it once more"
            raise ModelUnavailable(
                model.name, Problem(last.why.code, message, hint), self._outlook(model.name)
            )

    def _take(self, replica: Replica, ticket: Ticket) -> None:
        if ticket.admitted.done() or replica.life is None:  # its client has gone in this very moment
            return
        now = time.monotonic()
        cut: asyncio.Future[CutInFlight] = ticket.admitted.get_loop().create_future()
        waited_for = replica.last_wake if ticket.place.arrived < replica.served_since else None
        wake = _WAKES[waited_for.kind] if waited_for else "warm"
        if not replica.flights:
            replica.heard_at = now
        replica.flights[ticket] = cut
        replica.last_used = now
        admission = Admission(
            replica.name, replica.life, now - ticket.place.arrived, wake, ticket.place, cut, replica.heard
        )
        ticket.admitted.set_result(admission)
        self._note()

    def give_back(self, model: Model, ticket: Ticket) -> None:
        """Take note that a request is over, or waits no more."""
        if ticket in model.queue:
            model.queue.remove(ticket)
            self._poke()
        for replica in model.replicas:
            if replica.flights.pop(ticket, None):
                replica.last_used = time.monotonic()
                self._note()
                if isinstance(replica.state, Draining) and not replica.is_busy:
                    self._feed(replica, Drained())


class _Admitting:
    """One request's time with an engine."""

    def __init__(self, admissions: Admissions, model: Model, ticket: Ticket, *, new: bool) -> None:
        self._admissions = admissions
        self._model = model
        self._ticket = ticket
        self._new = new

    async def __aenter__(self) -> Admission:
        model, ticket = self._model, self._ticket
        self._admissions.enter(model, ticket, new=self._new)
        try:
            return ticket.admitted.result() if ticket.admitted.done() else await _admitted(model, ticket)
        except BaseException:
            self._admissions.give_back(model, ticket)
            raise

    async def __aexit__(self, *_error: object) -> None:
        self._admissions.give_back(self._model, self._ticket)


def _tell_waiting(model: Model, error: Callable[[], ServerError]) -> None:
    """Take everybody out of the queue with an error, each with one of its own."""
    while model.queue:
        ticket = model.queue.take()
        if not ticket.admitted.done():
            ticket.admitted.set_exception(error())


def _on_its_way(model: Model) -> bool:
    return any(isinstance(each.state, Running | Starting | Waking) for each in model.replicas)


def _least_busy(model: Model, own: str | None) -> Replica | None:
    """Return the replica that a request is for, its own if that serves, else the one with the fewest in flight; None where none serves."""
    free: Replica | None = None
    for each in model.replicas:
        if _takes_requests(each):
            if each.name == own:
                return each
            if free is None or len(each.flights) < len(free.flights):
                free = each
    return free


def _takes_requests(replica: Replica) -> bool:
    return isinstance(replica.state, Running) and replica.life is not None and not replica.becomes


async def _admitted(model: Model, ticket: Ticket) -> Admission:
    seconds = model.rules.request_timeout
    try:
        async with asyncio.timeout(ticket.place.arrived + seconds - time.monotonic()):
            return await ticket.admitted
    except TimeoutError:
        states = ", ".join(name_of(replica.state) for replica in model.replicas)
        hint = "Ask again later, or raise its time-out for requests"
        raise RequestTimedOut(model.name, seconds, states, hint=hint) from None
