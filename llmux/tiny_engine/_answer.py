"""From an engine's pieces to the answer that a client gets: whole, in server-sent events, or an error in OpenAI's form."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from llmux.tiny_engine._client import Piece
from llmux.tiny_engine._messages import Finish
from llmux.tiny_engine._protocol import ApiError, Envelope, Inference, Json, usage
from llmux.tiny_engine._signature import Signer
from llmux.tiny_engine.errors import BusyError, MissingError, NotReadyError, TinyEngineError, WorkerDiedError

Pieces = AsyncGenerator[Piece, None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SERVER_SENT: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}


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
async def openai_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors in OpenAI's form, those of unknown paths and wrong methods too."""
    try:
        return await handler(request)
    except ApiError as error:
        return web.json_response(error.body, status=error.status)
    except TinyEngineError as error:
        translated = _translated(error)
        return web.json_response(translated.body, status=translated.status)
    except web.HTTPException as error:
        translated = ApiError(
            error.status, error.reason.replace(" ", "") + "Error", f"{error.status}: {error.reason}"
        )
        return web.json_response(translated.body, status=error.status)


def _translated(error: TinyEngineError) -> ApiError:
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
    finish = collected[-1].finish or Finish.STOP
    text = "".join(piece.text for piece in collected)
    body = exchange.envelope.whole(text, finish, counted)
    return web.json_response({**body, **exchange.signature(text, finish)})


async def answer_in_pieces(request: web.Request, pieces: Pieces, exchange: Exchange) -> web.StreamResponse:
    """Answer in server-sent events; nothing is sent before the first token, so that a refusal has its own status."""
    response = web.StreamResponse(headers=_SERVER_SENT)
    try:
        await _send_pieces(request, response, pieces, exchange)
    except TinyEngineError as error:
        if not response.prepared:
            raise
        await response.write(_event(_translated(error).body))
    await response.write(b"data: [DONE]\n\n")
    return response


async def _send_pieces(
    request: web.Request, response: web.StreamResponse, pieces: Pieces, exchange: Exchange
) -> None:
    asked, envelope = exchange.asked, exchange.envelope
    sent: list[Piece] = []
    async for piece in pieces:
        sent.append(piece)
        if not response.prepared:
            await response.prepare(request)
            if asked.chat:
                await response.write(_event(envelope.opening()))
        if piece.text or piece.finish:
            await response.write(_event(envelope.chunk(piece.text, piece.finish)))
    if asked.stream_usage:
        counted = usage(len(asked.prompt), sum(piece.tokens for piece in sent))
        await response.write(_event(envelope.usage(counted)))
    signature = exchange.signature("".join(piece.text for piece in sent), sent[-1].finish)
    if signature:
        await response.write(_event({**envelope.closing(), **signature}))


def _event(body: Json) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"
