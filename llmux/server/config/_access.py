"""Who may do what, and how llmux listens: the sections `access`, `listen` and `tls`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from llmux.server.config._types import (
    AbsolutePath,
    Bytes,
    Count,
    ModelName,
    Seconds,
    Section,
    Text,
    Variable,
)

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_MODE = re.compile(r"0?[0-7]{3}")
_LONGEST_SOCKET = 90
"""Bytes of a Unix socket's path, of the kernel's 107: its first name is longer."""


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise ValueError("must be sha256: and 64 hexadecimal digits, as `llmux key` prints it")
    return text


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if text != "*" and (parts.scheme not in {"http", "https"} or text != f"{parts.scheme}://{parts.netloc}"):
        raise ValueError('must be an origin such as "https://chat.example.org", without a path, or "*"')
    return text


def _mode(text: str) -> str:
    if not _MODE.fullmatch(text):
        raise ValueError('must be the permissions in octal digits, such as "0660"')
    return text


def _socket_path(path: Path) -> Path:
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise ValueError(f"is too long for a socket's path: {_LONGEST_SOCKET} bytes at most")
    return path


class SecretConfig(Section):
    """A key, or where it is: one of these three."""

    hash: Annotated[str, AfterValidator(_hash)] | None = None
    """The SHA-256 of the key, as `llmux key` prints it: the key itself need not be on this machine."""
    env: Variable | None = None
    """The environment variable of llmux that the key, or its hash, is in."""
    file: AbsolutePath | None = None
    """The file that the key, or its hash, is in, which not everybody may read nor others write; read again at each reload."""

    @model_validator(mode="after")
    def _one_of_them(self) -> SecretConfig:
        if sum(each is not None for each in (self.hash, self.env, self.file)) != 1:
            raise ValueError("needs one of hash, env and file; `llmux key` makes a key and its hash")
        return self


class KeyConfig(SecretConfig):
    """One API key."""

    role: Literal["use", "observe", "control", "admin"] = "use"
    """`use`: have models answer; `observe`: see how they are; `control`: both, and put them to sleep and wake them; `admin`: everything."""
    models: tuple[Annotated[Text, Field(max_length=256)], ...] | None = None
    """The models and adapters it may ask for, by the names that clients ask for, or patterns (`chat-*`); null: all."""
    requests_per_minute: Count | None = None
    """How many requests to /v1 it may make; a further one is answered with 429 and Retry-After."""
    tokens_per_minute: Count | None = None
    """How many tokens it may have read and written: by the answers' `usage`, else estimated from their size. An answer that has begun is never cut off."""
    concurrency: Count | None = None
    """How many of its requests may be answered, or wait, at a time."""
    priority: int = 0
    """Added to the `priority` of the model that it asks for: requests with more go first."""
    expires: AwareDatetime | None = None
    """When it ceases to hold, with a time zone: "2030-01-31T00:00:00Z"."""


class AccessConfig(Section):
    """Who may do what. Without keys `/v1` is open, and without a token as well all else is for who comes by the loopback address."""

    keys: dict[ModelName, KeyConfig] = Field(default_factory=dict)
    """API keys, by names that the log may tell. With any, all but `/health` and the page's files needs one."""
    token: SecretConfig | None = None
    """A key for `/control` and everything else that is not `/v1`, from any address; `/v1` stays open where there are no keys."""
    admin_uids: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Users who may do everything over the Unix socket, beside root and llmux's own; others may use `/v1` there."""
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """Origins of web pages that browsers let read answers ("https://chat.example.org"); "*": all."""


class ListenConfig(Section):
    """How llmux listens, and how long it has patience with a client."""

    unix_socket: Annotated[AbsolutePath, AfterValidator(_socket_path)] | None = None
    """A Unix socket to listen on as well; whoever connects is known by their user id."""
    unix_mode: Annotated[str, AfterValidator(_mode)] = "0666"
    """Who may connect to it, by the permissions of its file."""
    admin_host: Text | None = None
    """The address of `admin_port`; `host` where it is not said."""
    metrics_host: Text | None = None
    """The address of `metrics_port`; `host` where it is not said."""
    largest_body: Bytes = Field(default=256 << 20, validate_default=True)
    """A request with more is answered with 413."""
    largest_header: Annotated[int, Field(ge=1024, le=1 << 20)] = 16384
    """Bytes of the first line and of each header; more is answered with 431."""
    most_headers: Annotated[int, Field(ge=16, le=10_000)] = 128
    """How many headers a request may have; with more it is answered with 400."""
    most_connections: Count | None = None
    """How many clients may be connected to the ports, a further one is hung up on; null: half as many as llmux may have files open (its hard limit, `ulimit -Hn`)."""
    idle_timeout: Seconds = 75
    """A connection on which no whole request's head comes for so long is closed."""
    body_timeout: Seconds = 30
    """A request whose body brings nothing for so long, or comes slower than `body_rate` after that time, is answered with 408."""
    body_rate: Count = 1024
    """Bytes a second that a body brings on the whole."""
    send_timeout: Seconds = 120
    """A client that takes nothing of its answer for so long is cut off, and its request ends."""


class TlsConfig(Section):
    """A certificate, with which `port` and `admin_port` speak TLS 1.2 or newer. Both files are read again when they change, and on SIGHUP."""

    certificate: AbsolutePath
    """The certificate and its chain, in PEM."""
    key: AbsolutePath
    """Its private key, in PEM, without a password, in a file that not everybody may read nor others write."""
