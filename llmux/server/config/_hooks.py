"""Who is told of what happens: the section `hooks`."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from llmux.server.config._types import AbsolutePath, Count, ModelName, Seconds, Section, Text

EventKind = Literal[
    "state_changed",
    "sleep_done",
    "sleep_failed",
    "wake_done",
    "wake_failed",
    "engine_lost",
    "engine_restarted",
    "checkpoint_made",
    "checkpoint_reused",
    "checkpoint_removed",
    "request_queued",
    "request_admitted",
    "request_finished",
    "decided",
    "configuration_reloaded",
]


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address that begins with http:// or https://")
    if parts.username or parts.password:
        raise ValueError("must have no user and no password in it; sign what is sent with secret_file")
    return url


class HookConfig(Section):
    """A program, or a web address, that is told of what happens."""

    events: tuple[EventKind, ...] = ()
    """Of which kinds of events; none: of all but those of single requests."""
    models: tuple[ModelName, ...] = ()
    """Of which models' events; none: of all, and of what is about no model."""
    command: tuple[Text, ...] = ()
    """A program and its arguments; each event is in its variable LLMUX_EVENT, as JSON."""
    url: Annotated[Text, AfterValidator(_web_address)] | None = Field(default=None, repr=False)
    """Where each event is sent by POST, as JSON."""
    secret_file: AbsolutePath | None = None
    """The file with the secret that signs what is sent to `url` (HMAC-SHA256), which not everybody may read nor others write."""
    timeout: Seconds = 10
    """Seconds for one try."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    """How often it is tried, with pauses of 1, 2, 4 seconds and so on, up to a minute."""
    max_waiting: Count = 256
    """How many events may wait; further ones are not told of, and the log says so."""
    concurrency: Annotated[int, Field(ge=1, le=16)] = 1
    """How many may be on their way at a time; only with one do they come in order."""

    @model_validator(mode="after")
    def _one_of_them(self) -> HookConfig:
        if bool(self.command) == bool(self.url):
            raise ValueError("takes a command or a url, one of them")
        if self.secret_file and not self.url:
            raise ValueError("secret_file signs what is sent to a url; a command needs none")
        return self
