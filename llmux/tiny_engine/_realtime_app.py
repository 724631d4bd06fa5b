"""A small part of OpenAI's Realtime API, over a WebSocket: texts in, texts out.

https://platform.openai.com/docs/api-reference/realtime
"""

import json
from contextlib import aclosing
from uuid import uuid4

from aiohttp import WSCloseCode, WSMsgType, web

from llmux.tiny_engine._answer import translated
from llmux.tiny_engine._generating import Generating
from llmux.tiny_engine._protocol import ApiError, Json, bad_request, parse_object, served
from llmux.tiny_engine._responses import parse
from llmux.tiny_engine.errors import TinyEngineError


class RealtimeApi:
    """Its handler."""

    def __init__(self, generating: Generating) -> None:
        self._generating = generating

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/realtime", self.converse)]

    async def converse(self, request: web.Request) -> web.StreamResponse:
        model = served({"model": request.query.get("model")}, self._generating.limits)
        socket = web.WebSocketResponse(protocols=("realtime",))
        await socket.prepare(request)
        session = _Session(self._generating, socket, model)
        await session.tell("session.created", session=session.shown())
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"this engine takes texts only")
                break
            await session.take(message.data)
        return socket


class _Session:
    def __init__(self, generating: Generating, socket: web.WebSocketResponse, model: str) -> None:
        self._generating = generating
        self._socket = socket
        self._model = model
        self._id = f"sess_{uuid4().hex}"
        self._settings: Json = {}
        self._items: list[Json] = []

    def shown(self) -> Json:
        return {
            "id": self._id,
            "object": "realtime.session",
            "type": "realtime",
            "model": self._model,
            **self._settings,
        }

    async def tell(self, kind: str, **fields: object) -> None:
        await self._socket.send_str(json.dumps({"type": kind, "event_id": f"event_{uuid4().hex}", **fields}))

    async def take(self, data: str) -> None:
        """Answer one of the client's events."""
        try:
            await self._take(parse_object(data.encode()))
        except ApiError as error:
            await self._refuse(error)
        except TinyEngineError as error:
            await self._refuse(translated(error))

    async def _refuse(self, error: ApiError) -> None:
        await self.tell("error", error=error.body["error"])

    async def _take(self, event: Json) -> None:
        match event.get("type"), event.get("session"), event.get("item"):
            case "session.update", dict(session), _:
                self._settings = {name: session[name] for name in ("instructions",) if name in session}
                await self.tell("session.updated", session=self.shown())
            case "conversation.item.create", _, dict(item):
                kept = {"id": f"item_{uuid4().hex}", "object": "realtime.item", "status": "completed", **item}
                self._items.append(item)
                await self.tell("conversation.item.created", previous_item_id=None, item=kept)
            case "response.create", _, _:
                await self._respond(event.get("response"))
            case kind, _, _:
                raise bad_request(
                    f"type is {kind!r}; this engine takes session.update, "
                    "conversation.item.create and response.create, with what they are about",
                    "type",
                )

    async def _respond(self, options: object) -> None:
        said = options if isinstance(options, dict) else {}
        body = {"model": self._model, "input": self._items, **self._settings, **said}
        asked = parse(body, (), self._generating.tokenizer, self._generating.limits)
        name = f"resp_{uuid4().hex}"
        shown: dict[str, object] = {
            "id": name,
            "object": "realtime.response",
            "status": "in_progress",
            "output": [],
        }
        await self.tell("response.created", response=shown)
        where = {"response_id": name, "item_id": f"item_{name}", "output_index": 0, "content_index": 0}
        text, tokens = "", 0
        async with aclosing(self._generating.pieces(name, asked.inference)) as pieces:
            async for piece in pieces:
                text, tokens = text + piece.text, tokens + piece.tokens
                if piece.text:
                    await self.tell("response.output_text.delta", delta=piece.text, **where)
        content = [{"type": "output_text", "text": text}]
        item = {
            "id": where["item_id"],
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": content,
        }
        self._items.append({"role": "assistant", "content": content})
        prompt = len(asked.inference.prompt)
        usage = {"input_tokens": prompt, "output_tokens": tokens, "total_tokens": prompt + tokens}
        await self.tell("response.output_text.done", text=text, **where)
        await self.tell(
            "response.done", response={**shown, "status": "completed", "output": [item], "usage": usage}
        )
