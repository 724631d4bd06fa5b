"""llmux and its engines as their users see them: over HTTP."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proof.dialing import Dialer

Document = dict[str, Any]
"""A JSON object as it came; each caller names the fields it relies on."""


class RefusedError(Exception):
    """An answer with a status of 400 or more."""

    def __init__(self, request: str, status: int, body: str) -> None:
        super().__init__(request, status, body)
        self.request, self.status, self.body = request, status, body

    def __str__(self) -> str:
        return f"{self.request} was answered with {self.status}: {self.body}"

    @property
    def message(self) -> str:
        """The error's text in OpenAI's form."""
        return str(json.loads(self.body)["error"]["message"])


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over a socket that a dialer makes."""

    def __init__(self, dial: Dialer, port: int, timeout: float) -> None:
        super().__init__("127.0.0.1", port, timeout=timeout)
        self._dial, self._timeout = dial, timeout

    def connect(self) -> None:
        self.sock = self._dial(self.port, self._timeout)


@dataclass(frozen=True)
class Http:
    """Requests to one port of one container."""

    dial: Dialer
    port: int

    def open(
        self, method: str, path: str, body: object = None, *, timeout: float = 60
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer, its body not yet read; closing it closes the connection.

        Raises RefusedError on a status of 400 or more, OSError where nothing answers.
        """
        connection = _Connection(self.dial, self.port, timeout)
        data = None if body is None else json.dumps(body).encode()
        headers = {"Connection": "close"} | ({"Content-Type": "application/json"} if data else {})
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        if answer.status >= 400:
            with answer:
                raise RefusedError(f"{method} {path}", answer.status, answer.read().decode(errors="replace"))
        return answer

    def text(self, method: str, path: str, body: object = None, *, timeout: float = 60) -> str:
        """Send a request and return the whole answer. Raises as `open` does."""
        with self.open(method, path, body, timeout=timeout) as answer:
            return answer.read().decode()

    def json(self, method: str, path: str, body: object = None, *, timeout: float = 60) -> Document:
        """Send a request and return the JSON object it is answered with. Raises as `open` does."""
        document: Document = json.loads(self.text(method, path, body, timeout=timeout))
        return document


QUESTION = "Where does the light go when the lamp is out?"


def request(model: str, question: str = QUESTION, **fields: object) -> Document:
    """Return a chat request whose answer depends on the model alone."""
    message = {"role": "user", "content": question}
    return {"model": model, "messages": [message], "temperature": 0, "max_tokens": 32, **fields}


@dataclass(frozen=True)
class Llmux:
    """llmux in one container."""

    http: Http

    def wait_until_it_answers(self, seconds: float = 30, lives: Callable[[], bool] = lambda: True) -> None:
        """Return when GET /health answers. Raises TimeoutError, and ConnectionError once it no longer `lives`."""
        until = time.monotonic() + seconds
        while True:
            try:
                self.http.text("GET", "/health", timeout=5)
            except (OSError, http.client.HTTPException) as error:
                if not lives():
                    raise ConnectionError("llmux has ended") from error
                if time.monotonic() > until:
                    raise TimeoutError(f"llmux doesn't answer on port {self.http.port}: {error}") from error
                time.sleep(0.05)
            else:
                return

    def chat(self, model: str, question: str = QUESTION, *, timeout: float = 300, **fields: object) -> str:
        """Return the model's answer to one question at temperature 0."""
        body = request(model, question, **fields)
        answer = self.http.json("POST", "/v1/chat/completions", body, timeout=timeout)
        return str(answer["choices"][0]["message"]["content"])

    def stream(
        self, model: str, question: str = QUESTION, *, timeout: float = 300, **fields: object
    ) -> Iterator[str]:
        """Yield the pieces of the model's answer as they come; closing the iterator closes the connection."""
        body = request(model, question, stream=True, **fields)
        with self.http.open("POST", "/v1/chat/completions", body, timeout=timeout) as answer:
            for event in _events(answer):
                if event == "[DONE]":
                    return
                delta = json.loads(event)["choices"][0]["delta"]
                if piece := delta.get("content"):
                    yield piece
        raise ValueError("the stream ended without [DONE]")

    def sleep(self, model: str, *, timeout: float = 300, **fields: object) -> Document:
        """Put a model to sleep and return what llmux answers."""
        return self.http.json("POST", "/control/sleep", {"model": model, **fields}, timeout=timeout)

    def wake(self, model: str, *, timeout: float = 300) -> Document:
        """Wake a model and return what llmux answers."""
        return self.http.json("POST", "/control/wake", {"model": model}, timeout=timeout)

    def status(self, model: str) -> Document:
        """Return one model's part of GET /control/status."""
        document: Document = self.http.json("GET", "/control/status")["models"][model]
        return document


def _events(answer: http.client.HTTPResponse) -> Iterator[str]:
    """Yield the data of each server-sent event."""
    for line in answer:
        name, _, value = line.decode().partition(":")
        if name == "data":
            yield value.strip()


@dataclass(frozen=True)
class Identity:
    """What one life of an engine knows itself by, kept in its memory: a cold start can't have the same."""

    start_time: float
    """Unix seconds."""
    instance: str


def tiny_identity(engine: Http) -> Identity:
    """Ask a tiny engine."""
    answer = engine.json("GET", "/instance")
    return Identity(float(answer["start_time"]), str(answer["instance_id"]))


def vllm_identity(engine: Http) -> Identity:
    """Read vLLM's metrics: prometheus_client keeps the time at which each counter was made, in the process's memory.

    `process_start_time_seconds` wouldn't do: it is read from /proc, where a restored process is as old as its restore.
    """
    made = dict(_made(engine.text("GET", "/metrics")))
    if not made:
        raise ValueError("vLLM's /metrics name no counter's time of making")
    began = min(made.values())
    # Some counters, as those of its sleeps, are made at first use.
    at_start = sorted((name, when) for name, when in made.items() if when < began + 1)
    return Identity(began, hashlib.sha256(repr(at_start).encode()).hexdigest()[:32])


def _made(metrics: str) -> Iterator[tuple[str, float]]:
    for line in metrics.splitlines():
        sample, _, value = line.rpartition(" ")
        name = sample.partition("{")[0]
        if name.startswith("vllm:") and name.endswith("_created"):
            yield sample, float(value)


IDENTITIES: Mapping[str, Any] = {"tiny": tiny_identity, "vllm": vllm_identity}
"""How to learn each engine's identity, by its name."""
