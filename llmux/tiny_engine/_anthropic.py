"""Anthropic's Messages API: bodies parsed once, messages and the events of their streams as plain JSON objects.

https://docs.anthropic.com/en/api/messages
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llmux.tiny_engine._client import Piece
from llmux.tiny_engine._messages import Finish
from llmux.tiny_engine._protocol import (
    Inference,
    Json,
    Limits,
    bad_request,
    flag,
    room_beside,
    sampling,
    served,
    stops,
    turns,
)
from llmux.tiny_engine._signature import prompt_digest
from llmux.tiny_engine._tokenizer import Tokenizer


def parse(body: Json, tokenizer: Tokenizer, limits: Limits) -> Inference:
    """Read the body of /v1/messages. Raises ApiError."""
    model = served(body, limits)
    if body.get("tools"):
        raise bad_request("tools are not offered by this engine; leave them out", "tools")
    prompt = prompt_of(body, tokenizer)
    room = room_beside(prompt, limits, "messages")
    if body.get("max_tokens") is None:
        raise bad_request("max_tokens: Field required", "max_tokens")
    return Inference(
        chat=True,
        model=model,
        prompt=prompt,
        sampling=sampling(body, "max_tokens", room, room),
        stops=stops(body, "stop_sequences"),
        stream=flag(body, "stream"),
        stream_usage=True,
        digest=prompt_digest(body.get("messages")),
    )


def prompt_of(body: Json, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the prompt that a body of /v1/messages or count_tokens makes. Raises ApiError."""
    system = body.get("system")
    told = turns({"messages": [{"role": "system", "content": system}]}) if system else []
    return tuple(tokenizer.encode_chat([*told, *turns(body)]))


@dataclass(frozen=True)
class Message:
    """What all objects of one answer share."""

    id: str
    asked: Inference

    def whole(self, pieces: Sequence[Piece]) -> Json:
        last = pieces[-1]
        return {
            **self._opening(sum(piece.tokens for piece in pieces)),
            "content": [{"type": "text", "text": "".join(piece.text for piece in pieces)}],
            **_stopped(last),
        }

    def begins(self) -> list[Json]:
        return [
            {"type": "message_start", "message": {**self._opening(0), "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ]

    def says(self, text: str) -> Json:
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}

    def ends(self, last: Piece, tokens: int) -> list[Json]:
        return [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": _stopped(last), "usage": {"output_tokens": tokens}},
            {"type": "message_stop"},
        ]

    def _opening(self, tokens: int) -> Json:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.asked.model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": len(self.asked.prompt), "output_tokens": tokens},
        }


def _stopped(last: Piece) -> Json:
    reason = "stop_sequence" if last.stop else "max_tokens" if last.finish is Finish.LENGTH else "end_turn"
    return {"stop_reason": reason, "stop_sequence": last.stop}
