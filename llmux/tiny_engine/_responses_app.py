"""The routes of OpenAI's Responses API, and the responses that are kept: the last thousand, in memory."""

import asyncio
import time
from collections import OrderedDict
from contextlib import aclosing
from typing import Final
from uuid import uuid4

from aiohttp import web

from llmux.tiny_engine._answer import SERVER_SENT, event, translated
from llmux.tiny_engine._generating import Generating
from llmux.tiny_engine._protocol import ApiError, Json, bad_request, parse_object
from llmux.tiny_engine._responses import Response, Turns, parse
from llmux.tiny_engine.errors import TinyEngineError

_MOST: Final = 1000


class ResponsesApi:
    """Its handlers."""

    def __init__(self, generating: Generating) -> None:
        self._generating = generating
        self._kept: OrderedDict[str, Response] = OrderedDict()
        self._background: dict[str, asyncio.Task[None]] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/responses", self.create),
            web.get("/v1/responses/{id}", self.show),
            web.delete("/v1/responses/{id}", self.delete),
            web.post("/v1/responses/{id}/cancel", self.cancel),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        body = parse_object(await request.read())
        asked = parse(body, self._before(body), self._generating.tokenizer, self._generating.limits)
        response = Response(f"resp_{uuid4().hex}", int(time.time()), asked)
        if asked.inference.stream:
            return await self._stream(request, response)
        if asked.background:
            self._keep(response)
            self._begin(response)
        else:
            await self._complete(response)
            self._keep(response)
        return web.json_response(response.body())

    async def show(self, request: web.Request) -> web.Response:
        return web.json_response(self._find(request.match_info["id"], "response_id").body())

    async def delete(self, request: web.Request) -> web.Response:
        response = self._find(request.match_info["id"], "response_id")
        del self._kept[response.id]
        return web.json_response({"id": response.id, "object": "response", "deleted": True})

    async def cancel(self, request: web.Request) -> web.Response:
        response = self._find(request.match_info["id"], "response_id")
        if not response.asked.background:
            raise bad_request("only responses with background=true can be cancelled", "response_id")
        if task := self._background.get(response.id):
            task.cancel()
            response.status = "cancelled"
        return web.json_response(response.body())

    async def close(self, _: web.Application) -> None:
        """Give up those in the background."""
        tasks = tuple(self._background.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _before(self, body: Json) -> Turns:
        previous = body.get("previous_response_id")
        return () if previous is None else self._find(str(previous), "previous_response_id").conversation

    def _find(self, id_: str, param: str) -> Response:
        if id_ not in self._kept:
            raise ApiError(404, "invalid_request_error", f"Response with id '{id_}' not found.", param)
        return self._kept[id_]

    def _keep(self, response: Response) -> None:
        if response.asked.store:
            self._kept[response.id] = response
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)

    def _begin(self, response: Response) -> None:
        task = asyncio.get_running_loop().create_task(self._in_background(response))
        self._background[response.id] = task
        task.add_done_callback(lambda _: self._background.pop(response.id, None))

    async def _in_background(self, response: Response) -> None:
        try:
            await self._complete(response)
        except TinyEngineError as error:
            response.fails(_failure(error))

    async def _complete(self, response: Response) -> None:
        async with aclosing(self._generating.pieces(response.id, response.asked.inference)) as pieces:
            async for piece in pieces:
                response.said += piece.text
                response.tokens += piece.tokens
                if piece.finish:
                    response.end(piece.finish)

    async def _stream(self, request: web.Request, response: Response) -> web.StreamResponse:
        answer = web.StreamResponse(headers=SERVER_SENT)
        try:
            async with aclosing(self._generating.pieces(response.id, response.asked.inference)) as pieces:
                async for piece in pieces:
                    if not answer.prepared:
                        await answer.prepare(request)
                        await _send(answer, *response.begins())
                    response.said += piece.text
                    response.tokens += piece.tokens
                    if piece.text:
                        await _send(answer, response.says(piece.text))
                    if piece.finish:
                        response.end(piece.finish)
        except TinyEngineError as error:
            if not answer.prepared:
                raise
            await _send(answer, response.fails(_failure(error)))
        else:
            self._keep(response)
            await _send(answer, *response.ends())
        return answer


async def _send(answer: web.StreamResponse, *events: Json) -> None:
    for each in events:
        await answer.write(event(each, str(each["type"])))


def _failure(error: TinyEngineError) -> Json:
    return {"code": "server_error", "message": str(translated(error))}
