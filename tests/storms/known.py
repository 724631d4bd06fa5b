"""Whether an answer that nobody signs is whole and the model's own: by its id and model, and by what this model is known to say. Pure.

vLLM makes the id of an answer of the `x-request-id` of its request, so that each shows whose it is. What it says to a question at
temperature 0 is the same each time, and models of other weights say something else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from storms.judge import Ask, Json, Kind, Verdict, events_of


@dataclass(frozen=True)
class Question:
    """What an answer depends on."""

    model: str
    prompt: str
    tokens: int

    @classmethod
    def of(cls, ask: Ask) -> Question:
        return cls(ask.model, ask.prompt, ask.tokens)


@dataclass(frozen=True)
class Told:
    """What an answer says, whether it came whole or as a stream."""

    text: str
    ids: frozenset[str]
    models: frozenset[str]
    finishes: tuple[str, ...]
    """Why it ended, each time that it says so."""
    ends: int
    """How often it says that nothing more comes."""
    error: bool = False


class UnknowableError(Exception):
    """By these answers nobody could tell a right one from a wrong one."""


@dataclass(frozen=True)
class Known:
    """What models are known to say."""

    texts: Mapping[Question, str]

    @classmethod
    def by(cls, answers: Iterable[tuple[Ask, str]]) -> Known:
        """Learn from requests with their answers' bodies, some whole and some streamed.

        Raises UnknowableError where two answers to a question differ, or two models say the same. One model may say the same to
        two questions, which the ids tell apart.
        """
        texts: dict[Question, str] = {}
        for ask, body in answers:
            text = told(ask, body).text
            if texts.setdefault(Question.of(ask), text) != text:
                raise UnknowableError(f"{ask} is answered by {text!r} and by {texts[Question.of(ask)]!r}")
        speakers: dict[str, str] = {}
        for question, text in texts.items():
            if (other := speakers.setdefault(text, question.model)) != question.model:
                raise UnknowableError(f"{question} has the answer of {other}: {text!r}")
        return cls(texts)

    def read(self, ask: Ask, body: str) -> Verdict:
        """Judge an answer by its form and its text."""
        formal, text = read_form(ask, body), told(ask, body).text
        return formal if formal.kind is not Kind.ANSWERED else self._read_text(Question.of(ask), text)

    def _read_text(self, question: Question, text: str) -> Verdict:
        wanted = self.texts[question]
        if text == wanted:
            return Verdict(Kind.ANSWERED)
        told_of = f"{question} got {text!r} instead of {wanted!r}"
        if text == 2 * wanted:
            return Verdict(Kind.DOUBLED, why=told_of)
        if others := [other for other, its in self.texts.items() if its == text]:
            return Verdict(Kind.CROSSED, why=f"{question} got the answer to {others[0]}")
        return Verdict(Kind.CUT if wanted.startswith(text) else Kind.WRONG, why=told_of)


def read_form(ask: Ask, body: str) -> Verdict:
    """Judge an answer by all but its text: that it is this request's, of this model, and ends once, as it should."""
    answer = told(ask, body)
    if answer.error:
        return Verdict(Kind.HONEST, "broken off by an event")
    if "abort" in answer.finishes:
        return Verdict(Kind.HONEST, "aborted")
    if answer.ids - {f"chatcmpl-{ask.nonce}"} or answer.models - {ask.model}:
        return Verdict(Kind.CROSSED, why=f"{ask} got the answer {set(answer.ids)} of {set(answer.models)}")
    if answer.ends > 1 or len(answer.finishes) > 1:
        return Verdict(Kind.DOUBLED, why=f"an answer that ends {answer.ends} times, by {answer.finishes}")
    if answer.ends == 0 or answer.finishes != ("length",):
        return Verdict(Kind.CUT, why=f"{ask} got an answer that ends by {answer.finishes or 'nothing'}")
    return Verdict(Kind.ANSWERED)


def told(ask: Ask, body: str) -> Told:
    """Return what a body says. Raises ValueError, KeyError, TypeError and IndexError of one that is no answer."""
    return _streamed(body) if ask.stream else _whole(json.loads(body), ask.tokens)


def _whole(body: Json, tokens: int) -> Told:
    choice = body["choices"][0]
    return Told(
        choice["message"]["content"],
        frozenset({body["id"]}),
        frozenset({body["model"]}),
        (choice["finish_reason"],),
        # Else it is shorter, or longer, than it says it is.
        ends=int(body["usage"]["completion_tokens"] == tokens),
    )


def _streamed(body: str) -> Told:
    events = list(events_of(body))
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    said = [chunk for chunk in chunks if "error" not in chunk]
    choices = [choice for chunk in said for choice in chunk["choices"]]
    return Told(
        "".join(choice["delta"].get("content") or "" for choice in choices),
        frozenset(chunk["id"] for chunk in said),
        frozenset(chunk["model"] for chunk in said),
        tuple(choice["finish_reason"] for choice in choices if choice["finish_reason"]),
        # What follows it was not awaited.
        ends=events.count("[DONE]") if events and events[-1] == "[DONE]" else 0,
        error=len(said) < len(chunks),
    )
