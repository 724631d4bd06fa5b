"""One try at an answer: asks an engine, and passes its bytes on as they come, untouched unless an errand says otherwise.

A client is sent nothing before the first byte of the answer's body is there; until then the request can be asked again,
of another engine too. An answer that has begun and cannot be finished is ended so that no client takes it for whole: a
stream of events by an error event in its API's form, and every answer without its proper end.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import aiohttp
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from llmux.server import _api_errors, _lacking, _request_log, _routing, _trace_context
from llmux.server._answer_time import AnswerTime
from llmux.server._answers import EVENT_ENDS, Stage
from llmux.server._control_errors import RequestCancelled
from llmux.server._errands import Errand
from llmux.server._gate import engine_headers
from llmux.server._journey import journey_of
from llmux.server._queue import Admission
from llmux.server._record import Model
from llmux.server._web import UNFORESEEN, has_begun
from llmux.server._wire import Answer, Asking, in_words
from llmux.server.errors import EngineLacks, Problem, RequestTimedOut

log = logging.getLogger(__name__)

_LAST_WORD = 1.0
"""Seconds for a client to take what it has been sent, and again to read why no more comes."""
_LOOK = 0.01
"""Seconds between two looks at what is left of that."""
_LONGEST_END = max(map(len, EVENT_ENDS))
_RESET = struct.pack("ii", 1, 0)
"""A linger of no time: closing the connection then resets it."""


@dataclass(frozen=True)
class Unanswered:
    """The engine gave no answer, and the client has been sent nothing."""

    why: Problem
    engine_failed: bool
    """It was not just put to sleep."""


class Suspect(Protocol):
    """Has an engine examined."""

    def __call__(self, *, silent: bool) -> asyncio.Task[None] | None:
        """Begin that; `silent` says that the engine has brought nothing in an answer's time. None where it is gone already."""


class _Answer(web.StreamResponse):
    """An answer whose head goes with the first of its body, in one packet, as aiohttp's answers with a body of their own do."""

    _send_headers_immediately = False


class Relay:
    """A request on its way to the engine that it was given, and the answer on its way back."""

    def __init__(
        self,
        request: web.Request,
        errand: Errand,
        model: Model,
        admission: Admission,
        suspect: Suspect,
    ) -> None:
        self._request = request
        self._journey = journey_of(request)
        self._errand = errand
        self._model = model
        self._admission = admission
        self._suspect = suspect
        deadline = admission.place.arrived + model.rules.request_timeout
        self._time = AnswerTime(admission.cut, deadline, model.deadlines)
        self._response: web.StreamResponse | None = None
        self._broken_off: Problem | None = None
        self._sent = b""
        """The end of what has been sent."""
        self._stages: tuple[Stage, ...] = ()

    async def run(self, adapter: AbstractAsyncContextManager[None]) -> web.StreamResponse | Unanswered:
        """Return the answer, sent, or why there is none. Raises RequestTimedOut where it has not begun in the request's time.

        `adapter` has the engine ready for what the request asks for, as long as it is entered; raises what it raises.
        """
        if self._admission.life.session.closed:
            return await self._ended_by_engine("it has just ended")
        try:
            with self._time:
                async with adapter, self._asked() as answer:
                    return await self._pass_back(answer)
        except aiohttp.ClientError as error:
            if isinstance(error, aiohttp.ClientConnectionResetError) and self._has_client_gone():
                log.info("%s %s: the client has gone", self._request.method, self._request.path)
                self._journey.client_gone()
                return self._response or web.Response()
            said = str(error) or type(error).__name__
            log.info("%s %s: %s: %s", self._request.method, self._request.path, self._admission.replica, said)
            return await self._ended_by_engine(in_words(error))
        except TimeoutError:
            return await self._ended_by_time()
        except Exception:
            if self._response is None or not has_begun(self._request):
                raise
            log.exception("%s %s failed unforeseen", self._request.method, self._request.path)
            return self._break_off(self._response, UNFORESEEN)

    def _has_client_gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def _asked(self) -> Asking:
        # Left by an exception or a cancellation, this closes the connection: that is how the engine learns of it.
        request, errand, life = self._request, self._errand, self._admission.life
        headers = CIMultiDict(_routing.request_headers(engine_headers(request)))
        _request_log.pass_on(request, headers)
        _trace_context.pass_on(request, self._journey, headers)
        if errand.whole:
            headers.popall("Accept-Encoding", None)
        return life.ask(request.method, errand.target, headers, errand.body)

    async def _pass_back(self, answer: Answer) -> web.StreamResponse:
        chunk = await answer.content.readany()
        self._admission.heard()
        self._journey.heard()
        if _lacking.may_lack(answer.status, self._request.method, self._request.path):
            chunk = await self._all_of_refusal(answer, chunk)
        self._time.begun(self._model.rules.stall)
        content_type = answer.content_type
        if "Content-Encoding" not in answer.headers:
            self._stages = self._errand.stages(self._admission.replica, answer.status, content_type)
        self._response = response = _Answer(
            status=answer.status, reason=answer.reason, headers=self._headers(answer)
        )
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._suspect(silent=False)
        await response.prepare(self._request)
        while chunk:
            self._journey.usage.read(chunk)
            await self._send(response, self._staged(chunk))
            chunk = await self._next(answer)
        if self._stages:
            await self._send(response, self._rest())
        await response.write_eof()
        self._journey.answered(answer.status, content_type)
        return response

    async def _send(self, response: web.StreamResponse, chunk: bytes) -> None:
        if chunk or not has_begun(self._request):  # the head waits for no more than one piece
            self._sent = chunk if len(chunk) >= _LONGEST_END else self._sent[-_LONGEST_END:] + chunk
            await response.write(chunk)

    def _staged(self, chunk: bytes) -> bytes:
        for stage in self._stages:
            chunk = stage.feed(chunk)
        return chunk

    def _rest(self) -> bytes:
        rest = b""
        for stage in self._stages:
            rest = (stage.feed(rest) if rest else b"") + stage.end()
        return rest

    async def _all_of_refusal(self, answer: Answer, chunk: bytes) -> bytes:
        """Return what the engine refuses the request with. Raises EngineLacks where it does not have the call at all."""
        while len(chunk) <= _lacking.LONGEST and (more := await self._next(answer)):
            chunk += more
        if _lacking.lacks(answer.status, chunk):
            call = f"{self._request.method} {self._request.path}"
            words, rules = _lacking.excerpt(chunk), self._model.rules
            hint = "Ask a model whose engine has it"
            raise EngineLacks(self._model.name, rules.engine, call, words, hint=hint)
        return chunk

    def _headers(self, answer: Answer) -> CIMultiDict[str]:
        replica = self._admission.replica if len(self._model.replicas) > 1 else None
        way = _routing.way_headers(self._admission.queued, self._admission.wake, replica)
        headers = CIMultiDict((*_routing.response_headers(answer.headers.items()), *way))
        if self._stages:
            headers.popall("Content-Length", None)
        return headers

    async def _next(self, answer: Answer) -> bytes:
        """Return what the engine sends next, nothing at the end."""
        if answer.content.at_eof():
            return b""
        self._time.listens()
        chunk = await answer.content.readany()
        self._time.heard()
        self._admission.heard()
        return chunk

    # ---- ends ----

    async def _ended_by_engine(self, why: str) -> web.StreamResponse | Unanswered:
        examination = self._suspect(silent=False)
        if self._response:
            return self._break_off(self._response, _gone(f"the engine broke off its answer: {why}"))
        if examination:
            await asyncio.wait((examination,))
        return Unanswered(_gone(f"the engine did not answer: {why}"), engine_failed=True)

    async def _ended_by_time(self) -> web.StreamResponse | Unanswered:
        if self._admission.cut.done():
            cut = self._admission.cut.result()
            if self._response:
                return self._break_off(self._response, cut.problem)
            if cut.cancelled:
                raise RequestCancelled(self._model.name, hint=cut.problem.hint)
            return Unanswered(cut.problem, cut.engine_lost)
        self._suspect(silent=True)
        if self._response:
            return self._break_off(self._response, _stalled(self._model.rules.stall or 0.0))
        hint = "Raise timeouts.request, or ask for a stream: only its first piece has to come in this time"
        seconds = self._model.rules.request_timeout
        raise RequestTimedOut(self._model.name, seconds, "answering", hint=hint)

    def _break_off(self, response: web.StreamResponse, why: Problem) -> web.StreamResponse:
        log.warning("%s %s: broken off: %s", self._request.method, self._request.path, why)
        self._journey.broken_off(why)
        response.force_close()
        self._broken_off = why
        return response

    async def part(self) -> None:
        """End an answer that was broken off so that the client can tell, and can read why where it is a stream of events.

        Clients may drop what they have not read yet when a connection breaks, so it stays open until they have had time to.
        """
        transport, response = self._request.transport, self._response
        if self._broken_off is None or response is None or transport is None or transport.is_closing():
            return
        try:
            async with asyncio.timeout(_LAST_WORD):
                while transport.get_write_buffer_size():  # noqa: ASYNC110 - aiohttp's own wait may have been cancelled, for good
                    await asyncio.sleep(_LOOK)
            if response.content_type == "text/event-stream" and self._sent.endswith(EVENT_ENDS):
                await response.write(_api_errors.event(self._request.path, self._broken_off))
                await asyncio.sleep(_LAST_WORD)
            self._close_without_end(transport, response)
        except (aiohttp.ClientConnectionResetError, TimeoutError):  # there is no telling it anything
            transport.abort()
        except asyncio.CancelledError:
            if not transport.is_closing():
                raise
            # The client has heard enough: its handler was cancelled for that.

    def _close_without_end(self, transport: asyncio.Transport, response: web.StreamResponse) -> None:
        by_its_end_only = self._request.version < HttpVersion11 and response.content_length is None
        if by_its_end_only and (connection := transport.get_extra_info("socket")):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        else:
            transport.close()


def _gone(message: str) -> Problem:
    return Problem(
        "engine_gone", message, "Ask again: an engine that has ended is started again for the next request"
    )


def _stalled(seconds: float) -> Problem:
    hint = "Ask again, or raise timeouts.stall where such pauses are usual"
    return Problem("engine_stalled", f"the engine has sent nothing for {seconds:g} s", hint)
