"""OpenAI's requests and answers: bodies parsed once into what the engine needs, answers built as plain JSON objects."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from llmux.tiny_engine._messages import Finish, Sampling
from llmux.tiny_engine._signature import prompt_digest
from llmux.tiny_engine._tokenizer import Tokenizer

Json = Mapping[str, object]

_DEFAULT_COMPLETION_TOKENS: Final = 16
# Refused rather than ignored when they ask for more than their neutral value.
_NOT_OFFERED: Final[Json] = {"best_of": 1, "echo": False, "tools": []}
_MOST_CHOICES: Final = 16
_MOST_LOGPROBS: Final = 20
# A tuple: the role asked for may be unhashable.
_ROLES: Final = ("system", "developer", "user", "assistant")
_MAX_SEED: Final = (1 << 63) - 1


_ANTHROPIC: Final = {400: "invalid_request_error", 404: "not_found_error", 503: "overloaded_error"}


class ApiError(Exception):
    """An answer in OpenAI's or Anthropic's error form; `param` is the field of the body that is wrong."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"error": {"message": message, "type": kind, "param": param, "code": status}}
        told = {"type": _ANTHROPIC.get(status, "api_error"), "message": message}
        self.anthropic: Json = {"type": "error", "error": told}


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
    choices: int = 1
    """How many answers are asked for."""


def parse_inference(data: bytes, tokenizer: Tokenizer, limits: Limits, *, chat: bool) -> Inference:
    """Read the body of /v1/chat/completions (`chat`) or /v1/completions. Raises ApiError, naming the field."""
    body = parse_object(data)
    model = served(body, limits)
    for name, neutral in _NOT_OFFERED.items():
        if body.get(name) not in (None, False, neutral):  # a tuple: it may be unhashable
            raise bad_request(f"{name} is not offered by this engine; leave it out", name)
    prompt = tuple(tokenizer.encode_chat(turns(body)) if chat else plain_prompt(body, "prompt", tokenizer))
    room = room_beside(prompt, limits, "messages" if chat else "prompt")
    longest = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    options = body.get("stream_options") or {}
    return Inference(
        chat=chat,
        model=model,
        prompt=prompt,
        sampling=replace(
            sampling(body, longest, room, room if chat else min(room, _DEFAULT_COMPLETION_TOKENS)),
            logprobs=_logprobs(body, chat=chat),
        ),
        stops=stops(body, "stop"),
        stream=flag(body, "stream"),
        stream_usage=isinstance(options, dict) and options.get("include_usage") is True,
        digest=prompt_digest(body.get("messages" if chat else "prompt")),
        choices=integer(body, "n", 1, 1, _MOST_CHOICES),
    )


def parse_object(data: bytes) -> Json:
    try:
        body = json.loads(data)
    except ValueError as error:
        raise bad_request(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body is not a JSON object")
    return body


def served(body: Json, limits: Limits) -> str:
    """Return the model that is asked for, which may be left out. Raises ApiError."""
    name = body.get("model")
    for known in (limits.model, *limits.adapters):
        if name in (None, known):  # a tuple: it may be unhashable
            return known
    message = f"The model `{name}` does not exist; this engine serves `{limits.model}`."
    raise ApiError(404, "NotFoundError", message, "model")


def room_beside(prompt: Sequence[int], limits: Limits, field: str) -> int:
    """Return how many tokens an answer may have. Raises ApiError where that is none."""
    room = limits.max_model_len - len(prompt)
    if room < 1:
        asked = f"the prompt has {len(prompt)} tokens, the model's limit is {limits.max_model_len} with the answer"
        raise bad_request(f"{asked}; shorten it", field)
    return room


def sampling(body: Json, longest: str, room: int, default: int) -> Sampling:
    """Return how tokens are to be chosen; `longest` is the field that has their number. Raises ApiError."""
    tokens = integer(body, longest, default, 1, room)
    seed = (
        None if body.get("seed") is None else integer(body, "seed", 0, -_MAX_SEED - 1, _MAX_SEED) & _MAX_SEED
    )
    return Sampling(
        max_tokens=tokens,
        temperature=number(body, "temperature", 1.0, 0.0, 2.0),
        top_p=number(body, "top_p", 1.0, 1e-9, 1.0),
        top_k=max(0, integer(body, "top_k", 0, -1, _MAX_SEED)),
        seed=seed,
        ignore_eos=flag(body, "ignore_eos"),
    )


def _logprobs(body: Json, *, chat: bool) -> int | None:
    if not chat:
        return None if body.get("logprobs") is None else integer(body, "logprobs", 0, 0, _MOST_LOGPROBS)
    return integer(body, "top_logprobs", 0, 0, _MOST_LOGPROBS) if flag(body, "logprobs") else None


def turns(body: Json) -> list[tuple[str, str]]:
    """Return the roles and texts of `messages`. Raises ApiError."""
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


def plain_prompt(body: Json, field: str, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens of a field that is a text, or tokens already. Raises ApiError."""
    prompt = body.get(field)
    if isinstance(prompt, str):
        return tokenizer.encode(prompt)
    tokens = prompt if isinstance(prompt, list) else [None]
    if tokens and all(type(token) is int and 0 <= token < tokenizer.size for token in tokens):
        return list(tokens)
    raise bad_request(f"{field} must be a text or a list of token ids below {tokenizer.size}", field)


def stops(body: Json, field: str) -> tuple[str, ...]:
    """Return the texts that end an answer. Raises ApiError."""
    value = body.get(field)
    listed = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(stop, str) and stop for stop in listed):
        raise bad_request(f"{field} must be a text or a list of texts, none empty", field)
    return tuple(listed)


def flag(body: Json, name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false", name)
    return value is True


def integer(body: Json, name: str, default: int, low: int, high: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or not low <= value <= high:
        raise bad_request(f"{name} must be a whole number from {low} to {high}", name)
    return value


def number(body: Json, name: str, default: float, low: float, high: float) -> float:
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

    def whole(self, choices: list[Json], usage: Json) -> Json:
        return self._object(choices, "", usage)

    def choice(self, index: int, text: str, finish: Finish, logprobs: Json | None) -> Json:
        """Build one of a whole answer's choices."""
        said = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        return {"index": index, **said, "logprobs": logprobs, "finish_reason": finish}

    def opening(self, index: int) -> Json:
        """Build the first chunk of one of a chat stream's choices, which names the role."""
        return self._chunk(index, {"delta": {"role": "assistant", "content": ""}}, None, None)

    def chunk(self, index: int, text: str, finish: Finish | None, logprobs: Json | None) -> Json:
        said = {"delta": {"content": text} if text else {}} if self.chat else {"text": text}
        return self._chunk(index, said, finish, logprobs)

    def closing(self) -> Json:
        """Build a stream's last object, without choices, for what concerns the whole answer."""
        return self._object([], ".chunk", None)

    def usage(self, usage: Json) -> Json:
        return self._object([], ".chunk", usage)

    def _chunk(self, index: int, said: Json, finish: Finish | None, logprobs: Json | None) -> Json:
        choice = {"index": index, **said, "logprobs": logprobs, "finish_reason": finish}
        return self._object([choice], ".chunk", None)

    def _object(self, choices: list[Json], suffix: str, usage: Json | None) -> Json:
        kind = f"chat.completion{suffix}" if self.chat else "text_completion"
        named = {"id": self.request, "object": kind, "created": self.created, "model": self.model}
        return {**named, "choices": choices, **({} if usage is None else {"usage": usage})}


def usage(prompt_tokens: int, completion_tokens: int) -> Json:
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
