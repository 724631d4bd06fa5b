"""From an engine's pieces to the answer that a client gets: whole, in server-sent events, or an error in its API's form."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from llmux.tiny_engine import _logprobs
from llmux.tiny_engine._client import Piece
from llmux.tiny_engine._messages import Finish
from llmux.tiny_engine._protocol import ApiError, Envelope, Inference, Json, usage
from llmux.tiny_engine._signature import Signer
from llmux.tiny_engine.errors import BusyError, MissingError, NotReadyError, TinyEngineError, WorkerDiedError

Pieces = AsyncGenerator[Piece, None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SERVER_SENT: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}


@dataclass(frozen=True)
class Exchange:
    """One request and what its answer begins and ends with; `signer` is None where the client sent no nonce."""

    asked: Inference
    envelope: Envelope
    signer: Signer | None

    def signature(self, text: str, finish: Finish | None) -> Json:
        """Sign a whole answer; one that was aborted is not whole."""
        return {} if self.signer is None or finish is Finish.ABORT else self.signer.sign(text)


@web.middleware
async def errors_in_form(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors in the form of the path's API, those of unknown paths and wrong methods too."""
    try:
        return await handler(request)
    except ApiError as error:
        return _refusal(request, error)
    except TinyEngineError as error:
        return _refusal(request, translated(error))
    except web.HTTPException as error:
        kind = error.reason.replace(" ", "") + "Error"
        return _refusal(request, ApiError(error.status, kind, f"{error.status}: {error.reason}"))


def _refusal(request: web.Request, error: ApiError) -> web.Response:
    body = error.anthropic if request.path.startswith("/v1/messages") else error.body
    return web.json_response(body, status=error.status)


def translated(error: TinyEngineError) -> ApiError:
    """Return an engine's error as an answer."""
    match error:
        case NotReadyError() | BusyError():
            return ApiError(503, "ServiceUnavailableError", str(error))
        case MissingError():
            return ApiError(404, "NotFoundError", str(error))
        case WorkerDiedError():
            return ApiError(503, "EngineDeadError", str(error))
        case _:
            return ApiError(500, "InternalServerError", str(error))


async def answer_whole(pieces: Pieces, exchange: Exchange) -> web.Response:
    """Answer with one JSON object."""
    collected = [piece async for piece in pieces]
    counted = usage(len(exchange.asked.prompt), sum(piece.tokens for piece in collected))
    choices = [
        _choice(index, [piece for piece in collected if piece.index == index], exchange)
        for index in range(exchange.asked.choices)
    ]
    text = "".join(piece.text for piece in collected)
    signature = exchange.signature(text, collected[-1].finish)
    return web.json_response({**exchange.envelope.whole(choices, counted), **signature})


def _choice(index: int, pieces: Sequence[Piece], exchange: Exchange) -> Json:
    text = "".join(piece.text for piece in pieces)
    return exchange.envelope.choice(
        index, text, pieces[-1].finish or Finish.STOP, _logprobs_of(pieces, exchange)
    )


def _logprobs_of(pieces: Sequence[Piece], exchange: Exchange) -> Json | None:
    if exchange.asked.sampling.logprobs is None:
        return None
    told = [piece.logprobs for piece in pieces if piece.logprobs]
    return _logprobs.of_chat(told) if exchange.asked.chat else _logprobs.of_completion(told)


async def answer_in_pieces(request: web.Request, pieces: Pieces, exchange: Exchange) -> web.StreamResponse:
    """Answer in server-sent events; nothing is sent before the first token, so that a refusal has its own status."""
    response = web.StreamResponse(headers=SERVER_SENT)
    try:
        await _send_pieces(request, response, pieces, exchange)
    except TinyEngineError as error:
        if not response.prepared:
            raise
        await response.write(event(translated(error).body))
    await response.write(b"data: [DONE]\n\n")
    return response


async def _send_pieces(
    request: web.Request, response: web.StreamResponse, pieces: Pieces, exchange: Exchange
) -> None:
    asked, envelope = exchange.asked, exchange.envelope
    sent: list[Piece] = []
    opened: set[int] = set()
    async for piece in pieces:
        sent.append(piece)
        if not response.prepared:
            await response.prepare(request)
        if asked.chat and piece.index not in opened:
            opened.add(piece.index)
            await response.write(event(envelope.opening(piece.index)))
        if piece.text or piece.finish or piece.logprobs:
            told = _logprobs_of((piece,), exchange)
            await response.write(event(envelope.chunk(piece.index, piece.text, piece.finish, told)))
    if asked.stream_usage:
        counted = usage(len(asked.prompt), sum(piece.tokens for piece in sent))
        await response.write(event(envelope.usage(counted)))
    signature = exchange.signature("".join(piece.text for piece in sent), sent[-1].finish)
    if signature:
        await response.write(event({**envelope.closing(), **signature}))


def event(body: Json, name: str = "") -> bytes:
    """Return a server-sent event."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(body).encode() + b"\n\n"
