"""What became of a request: one whole answer of its own, one honest error, or a fault of whoever stands between. Pure.

Honest are 429, 502, 503 and 504 in OpenAI's form with a code and a hint, the same from the engine itself (it knows no hint), and an answer that is broken off so that the
client can tell: the connection ends before the answer does, the stream holds an error, or says it was aborted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from llmux.tiny_engine._signature import digest, prompt_digest

HONEST = frozenset({404, 429, 502, 503, 504})
Json = dict[str, Any]
"""A JSON object as it came."""


@dataclass(frozen=True)
class Ask:
    """One request."""

    nonce: str
    model: str
    prompt: str
    stream: bool = False
    tokens: int = 8


class Ending(StrEnum):
    """How a reply ended, as the client's HTTP library tells it."""

    WHOLE = "whole"  # as HTTP says that an answer ends
    BROKEN = "broken"  # the connection ended first
    REFUSED = "refused"  # there was no connection to be had
    LATE = "late"  # the client's patience ended first
    LEFT = "left"  # the client left by its own will


@dataclass(frozen=True)
class Reply:
    """What came back. `waited` is seconds until the head of the answer, `took` until its end."""

    ending: Ending
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    waited: float = 0
    took: float = 0


class Kind(StrEnum):
    """What a reply amounts to."""

    ANSWERED = "answered"
    HONEST = "honest error"
    LEFT = "left"
    LOST = "lost"
    DOUBLED = "doubled"
    CROSSED = "crossed"
    CUT = "cut"
    WRONG = "wrong"


AGAIN = "asked again"
"""The code of an answer that its engine has begun more than once."""
GOOD = frozenset({Kind.ANSWERED, Kind.HONEST, Kind.LEFT})


@dataclass(frozen=True)
class Verdict:
    """`code` names an honest error, or is `AGAIN`; `why` says what is wrong."""

    kind: Kind
    code: str = ""
    why: str = ""


Reading = Callable[[Ask, str], Verdict]
"""What the body of a 200 amounts to. May raise what a body of another form makes it raise."""


def signed(ask: Ask, body: str) -> Verdict:
    """Judge an answer of the tiny engine by its signature."""
    return _judge_stream(ask, body) if ask.stream else _judge_object(ask, json.loads(body))


def judge(ask: Ask, reply: Reply, reading: Reading = signed) -> Verdict:
    """Say what a reply to a request amounts to."""
    match reply.ending:
        case Ending.LEFT:
            return Verdict(Kind.LEFT)
        case Ending.LATE:
            return Verdict(
                Kind.LOST, why=f"no end of an answer after {reply.took:.0f} s, status {reply.status}"
            )
        case Ending.REFUSED:
            return Verdict(Kind.HONEST, "unreachable")
        case Ending.BROKEN:
            return Verdict(Kind.HONEST, "broken off")
        case Ending.WHOLE:
            return _judge_whole(ask, reply, reading)


def _judge_whole(ask: Ask, reply: Reply, reading: Reading) -> Verdict:
    try:
        return reading(ask, reply.body) if reply.status == 200 else _judge_error(reply)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return Verdict(Kind.WRONG, why=f"{reply.status} with {reply.body[:300]!r}: {error!r}")


def _judge_error(reply: Reply) -> Verdict:
    error = json.loads(reply.body)["error"]
    if reply.status not in HONEST:
        return Verdict(Kind.WRONG, why=f"status {reply.status}: {error}")
    if "hint" not in error and error["type"]:
        return Verdict(Kind.HONEST, f"{reply.status} {error['type']} of the engine")
    if not (error["message"] and error["code"] and error["hint"]):
        return Verdict(Kind.WRONG, why=f"{reply.status} without message, code or hint: {error}")
    if reply.status == 429 and int(reply.headers.get("Retry-After", "0")) < 1:
        return Verdict(Kind.WRONG, why=f"429 without a Retry-After: {reply.headers}")
    return Verdict(Kind.HONEST, f"{reply.status} {error['code']}")


def _judge_object(ask: Ask, body: Json) -> Verdict:
    choice = body["choices"][0]
    text = choice["message"]["content"]
    if "signature" in body:
        return _judge_signature(ask, body["signature"], text)
    if choice["finish_reason"] == "abort":
        return Verdict(Kind.HONEST, "aborted")
    return Verdict(Kind.CUT, why=f"an answer without a signature: {body}")


def _judge_stream(ask: Ask, body: str) -> Verdict:
    events = list(events_of(body))
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    if any("error" in chunk for chunk in chunks):
        return Verdict(Kind.HONEST, "broken off by an event")
    if any(choice["finish_reason"] == "abort" for chunk in chunks for choice in chunk["choices"]):
        return Verdict(Kind.HONEST, "aborted")
    signatures = [chunk["signature"] for chunk in chunks if "signature" in chunk]
    if not signatures or events[-1] != "[DONE]":
        return Verdict(Kind.CUT, why=f"a stream that ends well after {len(chunks)} events, unsigned")
    if len(signatures) > 1 or events.count("[DONE]") > 1:
        return Verdict(Kind.DOUBLED, why=f"a stream with {len(signatures)} signatures")
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    return _judge_signature(ask, signatures[0], text)


def _judge_signature(ask: Ask, signature: Json, text: str) -> Verdict:
    told = (signature["nonce"], signature["model"], signature["prompt_sha256"])
    if told != (ask.nonce, ask.model, prompt_digest(messages(ask))):
        return Verdict(Kind.CROSSED, why=f"{ask} got the answer to {signature}")
    if signature["text_sha256"] != digest(text):
        return Verdict(Kind.CUT, why=f"{ask} got another text than was signed: {text!r}")
    return Verdict(Kind.ANSWERED, AGAIN if signature["times"] > 1 else "")


def messages(ask: Ask) -> list[Json]:
    """Return the messages of a request's body."""
    return [{"role": "user", "content": ask.prompt}]


def events_of(body: str) -> Iterator[str]:
    """Yield the data of each server-sent event."""
    for line in body.split("\n"):
        name, _, value = line.partition(":")
        if name == "data":
            yield value.strip()
