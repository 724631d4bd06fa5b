"""The routes of Anthropic's Messages API."""

from contextlib import aclosing
from uuid import uuid4

from aiohttp import web

from llmux.tiny_engine._answer import SERVER_SENT, event, translated
from llmux.tiny_engine._anthropic import Message, parse, prompt_of
from llmux.tiny_engine._client import Piece
from llmux.tiny_engine._generating import Generating
from llmux.tiny_engine._protocol import Json, parse_object, served
from llmux.tiny_engine.errors import TinyEngineError


class MessagesApi:
    """Its handlers."""

    def __init__(self, generating: Generating) -> None:
        self._generating = generating

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/messages", self.create),
            web.post("/v1/messages/count_tokens", self.count_tokens),
        ]

    async def count_tokens(self, request: web.Request) -> web.Response:
        body = parse_object(await request.read())
        served(body, self._generating.limits)
        return web.json_response({"input_tokens": len(prompt_of(body, self._generating.tokenizer))})

    async def create(self, request: web.Request) -> web.StreamResponse:
        body = parse_object(await request.read())
        asked = parse(body, self._generating.tokenizer, self._generating.limits)
        message = Message(f"msg_{uuid4().hex}", asked)
        async with aclosing(self._generating.pieces(message.id, asked)) as pieces:
            if not asked.stream:
                return web.json_response(message.whole([piece async for piece in pieces]))
            answer = web.StreamResponse(headers=SERVER_SENT)
            sent: list[Piece] = []
            try:
                async for piece in pieces:
                    if not sent:
                        await answer.prepare(request)
                        await _send(answer, *message.begins())
                    sent.append(piece)
                    if piece.text:
                        await _send(answer, message.says(piece.text))
            except TinyEngineError as error:
                if not sent:
                    raise
                await _send(answer, translated(error).anthropic)
            else:
                await _send(answer, *message.ends(sent[-1], sum(piece.tokens for piece in sent)))
            return answer


async def _send(answer: web.StreamResponse, *events: Json) -> None:
    for each in events:
        await answer.write(event(each, str(each["type"])))
