"""OpenAI's Responses API: bodies parsed once, responses and the events of their streams as plain JSON objects.

https://platform.openai.com/docs/api-reference/responses
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from llmux.tiny_engine._messages import Finish
from llmux.tiny_engine._protocol import (
    Inference,
    Json,
    Limits,
    bad_request,
    flag,
    number,
    room_beside,
    sampling,
    served,
    stops,
    turns,
)
from llmux.tiny_engine._signature import prompt_digest
from llmux.tiny_engine._tokenizer import Tokenizer

Turns = tuple[tuple[str, str], ...]

_TEXTS = {"input_text", "output_text", "text"}


@dataclass(frozen=True)
class Asked:
    """A request for a response."""

    inference: Inference
    turns: Turns
    """What the prompt is made of, without instructions."""
    background: bool
    store: bool
    shown: Json
    """What the response repeats of the request."""


def parse(body: Json, before: Turns, tokenizer: Tokenizer, limits: Limits) -> Asked:
    """Read the body of /v1/responses; `before` is the conversation that it goes on with. Raises ApiError."""
    model = served(body, limits)
    if body.get("tools"):
        raise bad_request("tools are not offered by this engine; leave them out", "tools")
    said = (*before, *_input(body.get("input")))
    instructions = body.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise bad_request("instructions must be a text", "instructions")
    told = [("system", instructions)] if instructions else []
    prompt = tuple(tokenizer.encode_chat([*told, *said]))
    room = room_beside(prompt, limits, "input")
    inference = Inference(
        chat=True,
        model=model,
        prompt=prompt,
        sampling=sampling(body, "max_output_tokens", room, room),
        stops=stops(body, "stop"),
        stream=flag(body, "stream"),
        stream_usage=True,
        digest=prompt_digest(body.get("input")),
    )
    metadata = body.get("metadata")
    shown = {
        "instructions": instructions,
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": metadata if isinstance(metadata, Mapping) else {},
        "previous_response_id": body.get("previous_response_id"),
        "temperature": number(body, "temperature", 1.0, 0.0, 2.0),
        "top_p": number(body, "top_p", 1.0, 1e-9, 1.0),
    }
    return Asked(inference, said, flag(body, "background"), body.get("store") is not False, shown)


def _input(value: object) -> Turns:
    if isinstance(value, str):
        return (("user", value),)
    if not isinstance(value, list) or not value:
        raise bad_request("input must be a text or a list of messages", "input")
    return tuple(_message(index, item) for index, item in enumerate(value))


def _message(index: int, item: object) -> tuple[str, str]:
    if not isinstance(item, dict) or item.get("type", "message") != "message":
        raise bad_request(
            f"input[{index}] must be a message; this engine takes no other items", f"input[{index}]"
        )
    content = item.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [
        {"type": "text", "text": part.get("text")} if part.get("type") in _TEXTS else part
        for part in parts
        if isinstance(part, dict)
    ]
    message = {"role": item.get("role"), "content": texts if len(texts) == len(parts) else None}
    return turns({"messages": [message]})[0]


@dataclass
class Response:
    """A response, as far as it is; `said` is its text."""

    id: str
    created: int
    asked: Asked
    status: str = "in_progress"
    said: str = ""
    tokens: int = 0
    finish: Finish | None = None
    error: Json | None = None
    _sequence: Iterator[int] = field(default_factory=count)

    @property
    def conversation(self) -> Turns:
        """Return what a response that follows goes on with."""
        return (*self.asked.turns, ("assistant", self.said))

    def end(self, finish: Finish | None) -> None:
        """Note that it has ended by itself, or was cut off."""
        self.finish = finish
        self.status = {Finish.STOP: "completed", Finish.LENGTH: "incomplete"}.get(
            finish or Finish.STOP, "cancelled"
        )

    def body(self) -> Json:
        incomplete = {"reason": "max_output_tokens"} if self.status == "incomplete" else None
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": self.status,
            "background": self.asked.background,
            "error": self.error,
            "incomplete_details": incomplete,
            "model": self.asked.inference.model,
            "output": [self.item()] if self.said or self.finish else [],
            "parallel_tool_calls": True,
            "store": self.asked.store,
            "tool_choice": "auto",
            "tools": [],
            "usage": self._usage() if self.finish else None,
            **self.asked.shown,
        }

    def item(self) -> Json:
        status = "completed" if self.finish is Finish.STOP else "incomplete" if self.finish else "in_progress"
        content = [self.part()] if self.finish else []
        return {
            "id": self._item,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def part(self) -> Json:
        return {"type": "output_text", "text": self.said, "annotations": [], "logprobs": []}

    def begins(self) -> list[Json]:
        """Return a stream's first events."""
        return [
            self._event("response.created", response=self.body()),
            self._event("response.in_progress", response=self.body()),
            self._event("response.output_item.added", output_index=0, item=self.item()),
            self._in_item("response.content_part.added", part={**self.part(), "text": ""}),
        ]

    def says(self, text: str) -> Json:
        return self._in_item("response.output_text.delta", delta=text, logprobs=[])

    def ends(self) -> list[Json]:
        """Return a stream's last events."""
        return [
            self._in_item("response.output_text.done", text=self.said, logprobs=[]),
            self._in_item("response.content_part.done", part=self.part()),
            self._event("response.output_item.done", output_index=0, item=self.item()),
            self._event(f"response.{self.status}", response=self.body()),
        ]

    def fails(self, error: Json) -> Json:
        """Return a stream's last event where the engine has failed."""
        self.status, self.error = "failed", error
        return self._event("response.failed", response=self.body())

    @property
    def _item(self) -> str:
        return f"msg_{self.id.removeprefix('resp_')}"

    def _in_item(self, kind: str, **fields: object) -> Json:
        return self._event(kind, item_id=self._item, output_index=0, content_index=0, **fields)

    def _event(self, kind: str, **fields: object) -> Json:
        return {"type": kind, "sequence_number": next(self._sequence), **fields}

    def _usage(self) -> Json:
        prompt = len(self.asked.inference.prompt)
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + self.tokens,
        }
