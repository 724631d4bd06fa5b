"""OpenAI's requests and answers: bodies parsed once into what the engine needs, answers built as plain JSON objects."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llmux.tiny_engine._messages import Finish, Sampling
from llmux.tiny_engine._signature import prompt_digest
from llmux.tiny_engine._tokenizer import Tokenizer

Json = Mapping[str, object]

_DEFAULT_COMPLETION_TOKENS: Final = 16
# Refused rather than ignored when they ask for more than their neutral value.
_NOT_OFFERED: Final[Json] = {"n": 1, "best_of": 1, "logprobs": False, "echo": False, "tools": []}
# A tuple: the role asked for may be unhashable.
_ROLES: Final = ("system", "developer", "user", "assistant")
_MAX_SEED: Final = (1 << 63) - 1


class ApiError(Exception):
    """An answer in OpenAI's error form; `param` is the field of the body that is wrong."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"error": {"message": message, "type": kind, "param": param, "code": status}}


def bad_request(message: str, param: str | None = None) -> ApiError:
    return ApiError(400, "BadRequestError", message, param)


@dataclass(frozen=True)
class Limits:
    """What this server serves: the model's name, the adapters', and the tokens of prompt and answer together."""

    model: str
    max_model_len: int
    adapters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inference:
    """A request for a completion, of a chat or of a text."""

    chat: bool
    model: str
    prompt: tuple[int, ...]
    sampling: Sampling
    stops: tuple[str, ...]
    stream: bool
    stream_usage: bool
    digest: str
    """Of what was asked, for a signature."""


def parse_inference(data: bytes, tokenizer: Tokenizer, limits: Limits, *, chat: bool) -> Inference:
    """Read the body of /v1/chat/completions (`chat`) or /v1/completions. Raises ApiError, naming the field."""
    body = parse_object(data)
    model = _model(body, limits)
    for name, neutral in _NOT_OFFERED.items():
        if body.get(name) not in (None, False, neutral):  # a tuple: it may be unhashable
            raise bad_request(f"{name} is not offered by this engine; leave it out", name)
    prompt = tuple(tokenizer.encode_chat(_turns(body)) if chat else _plain_prompt(body, tokenizer))
    room = limits.max_model_len - len(prompt)
    if room < 1:
        asked = f"the prompt has {len(prompt)} tokens, the model's limit is {limits.max_model_len} with the answer"
        raise bad_request(f"{asked}; shorten it", "messages" if chat else "prompt")
    options = body.get("stream_options") or {}
    return Inference(
        chat=chat,
        model=model,
        prompt=prompt,
        sampling=_sampling(body, room, room if chat else min(room, _DEFAULT_COMPLETION_TOKENS)),
        stops=_stops(body.get("stop")),
        stream=_flag(body, "stream"),
        stream_usage=isinstance(options, dict) and options.get("include_usage") is True,
        digest=prompt_digest(body.get("messages" if chat else "prompt")),
    )


def parse_object(data: bytes) -> Json:
    try:
        body = json.loads(data)
    except ValueError as error:
        raise bad_request(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body is not a JSON object")
    return body


def _model(body: Json, limits: Limits) -> str:
    name = body.get("model")
    for served in (limits.model, *limits.adapters):
        if name in (None, served):  # a tuple: it may be unhashable
            return served
    message = f"The model `{name}` does not exist; this engine serves `{limits.model}`."
    raise ApiError(404, "NotFoundError", message, "model")


def _sampling(body: Json, room: int, default: int) -> Sampling:
    longest = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    tokens = _integer(body, longest, default, 1, room)
    seed = (
        None if body.get("seed") is None else _integer(body, "seed", 0, -_MAX_SEED - 1, _MAX_SEED) & _MAX_SEED
    )
    return Sampling(
        max_tokens=tokens,
        temperature=_number(body, "temperature", 1.0, 0.0, 2.0),
        top_p=_number(body, "top_p", 1.0, 1e-9, 1.0),
        top_k=max(0, _integer(body, "top_k", 0, -1, _MAX_SEED)),
        seed=seed,
        ignore_eos=_flag(body, "ignore_eos"),
    )


def _turns(body: Json) -> list[tuple[str, str]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages must be a list with at least one message", "messages")
    return [_turn(index, message) for index, message in enumerate(messages)]


def _turn(index: int, message: object) -> tuple[str, str]:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise bad_request(
            f"messages[{index}] must have a role: system, developer, user or assistant",
            f"messages[{index}].role",
        )
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise bad_request(f"messages[{index}].content must be text", f"messages[{index}].content")
    return str(message["role"]), "".join(map(str, texts))


def _plain_prompt(body: Json, tokenizer: Tokenizer) -> list[int]:
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return tokenizer.encode(prompt)
    tokens = prompt if isinstance(prompt, list) else [None]
    if tokens and all(type(token) is int and 0 <= token < tokenizer.size for token in tokens):
        return list(tokens)
    raise bad_request(f"prompt must be a text or a list of token ids below {tokenizer.size}", "prompt")


def _stops(value: object) -> tuple[str, ...]:
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise bad_request("stop must be a text or a list of texts, none empty", "stop")
    return tuple(stops)


def _flag(body: Json, name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false", name)
    return value is True


def _integer(body: Json, name: str, default: int, low: int, high: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or not low <= value <= high:
        raise bad_request(f"{name} must be a whole number from {low} to {high}", name)
    return value


def _number(body: Json, name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise bad_request(f"{name} must be a number", name)
    if not low <= value <= high:
        raise bad_request(f"{name} must be from {low:g} to {high:g}", name)
    return float(value)


@dataclass(frozen=True)
class Envelope:
    """What all objects of one answer share."""

    request: str
    created: int
    model: str
    chat: bool

    def whole(self, text: str, finish: Finish, usage: Json) -> Json:
        choice = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        return self._object([{"index": 0, **choice, "logprobs": None, "finish_reason": finish}], "", usage)

    def opening(self) -> Json:
        """Build a chat stream's first chunk, which names the role."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}, None)

    def chunk(self, text: str, finish: Finish | None) -> Json:
        return self._chunk(
            {"delta": {"content": text} if text else {}} if self.chat else {"text": text}, finish
        )

    def closing(self) -> Json:
        """Build a stream's last object, without choices, for what concerns the whole answer."""
        return self._object([], ".chunk", None)

    def usage(self, usage: Json) -> Json:
        return self._object([], ".chunk", usage)

    def _chunk(self, choice: Json, finish: Finish | None) -> Json:
        return self._object(
            [{"index": 0, **choice, "logprobs": None, "finish_reason": finish}], ".chunk", None
        )

    def _object(self, choices: list[Json], suffix: str, usage: Json | None) -> Json:
        kind = f"chat.completion{suffix}" if self.chat else "text_completion"
        named = {"id": self.request, "object": kind, "created": self.created, "model": self.model}
        return {**named, "choices": choices, **({} if usage is None else {"usage": usage})}


def usage(prompt_tokens: int, completion_tokens: int) -> Json:
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
