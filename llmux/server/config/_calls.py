"""How engines are reached that llmux knows least of: the sections `models.NAME.calls` and `models.NAME.remote`."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, JsonValue, WithJsonSchema, model_validator

from llmux.server.config._types import AbsolutePath, Section, Variable

_PATH = re.compile(r"/(?!/)[!-\"$-\[\]-~]*")
"""What stands in a request line: printable, without spaces, # and backslash."""


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError(
            f'{text!r} is no path of a URL: it begins with one "/", and has neither spaces nor "#" in it'
        )
    return text


def _url(text: str) -> str:
    fault = _url_fault(text)
    if fault:
        raise ValueError(f'{fault}; say where the upstream\'s API is, as in "https://api.example.com/v1"')
    return text.rstrip("/")


def _url_fault(text: str) -> str:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        return f"is no URL ({error})"
    if not _is_web(url) or port == 0 or re.search(r"[^!-~]", text):
        return "is no URL of http or https"
    if url.username is not None or url.password is not None:
        return "has a name or a password in it, which belong into api_key_env or api_key_file"
    if url.query or url.fragment:
        return "has a query or a fragment, and is only the beginning of each request's URL"
    return ""


def _is_web(url: SplitResult) -> bool:
    return url.scheme in {"http", "https"} and bool(url.hostname)


def _listed(calls: object) -> object:
    """Take one call for the list of it."""
    if isinstance(calls, dict):
        return (calls,)
    return tuple(calls) if isinstance(calls, list) else calls


UrlPath = Annotated[str, AfterValidator(_path)]
Url = Annotated[str, AfterValidator(_url)]
JsonObject = Annotated[dict[str, JsonValue], WithJsonSchema({"type": "object"})]


class CallConfig(Section):
    """One call to an engine. {port}, {model_path}, {name} and {weights} (offload, discard) are filled in, in the path and in the body's texts."""

    path: UrlPath
    """The path, with a query if need be."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    """The method."""
    body: JsonObject | None = None
    """The JSON body."""


Calls = Annotated[
    tuple[CallConfig, ...],
    BeforeValidator(_listed, json_schema_input_type=CallConfig | tuple[CallConfig, ...]),
]


class CallsConfig(Section):
    """What an engine that llmux does not know is asked over HTTP. Without `sleep` and `wake` it is vLLM's calls, and one that lacks them keeps its weights."""

    health: UrlPath = "/health"
    """What it is asked for its health: any answer below 400 says that it is ready."""
    keep_alive: bool = False
    """Whether requests may share connections, which is faster: not for a server that has a thread or process for each."""
    sleep: Calls | None = None
    """One call or several, in this order, that make it let go of its weights."""
    wake: Calls | None = None
    """The same that bring them back."""

    @model_validator(mode="after")
    def _both(self) -> CallsConfig:
        if (self.sleep is None) != (self.wake is None):
            said, lacking = ("sleep", "wake") if self.wake is None else ("wake", "sleep")
            raise ValueError(
                f"has {said} and no {lacking}: what one does the other has to take back; say both, or none"
            )
        return self


class RemoteConfig(Section):
    """A server elsewhere that has the model. What clients send as their own key is never passed on to it."""

    url: Url
    """Its base URL, as its other clients are given it. Where that has a path, it stands in place of `/v1`."""
    api_key_env: Variable | None = None
    """The environment variable of llmux that has the key for it."""
    api_key_file: AbsolutePath | None = None
    """The file that has it, which not everybody may read nor others write; read again when the server refuses the key."""
    api_key_header: Literal["authorization", "x-api-key", "api-key"] = "authorization"
    """What carries the key: `authorization` as a Bearer, the others as it is (Anthropic's, Azure's)."""
    ca_file: AbsolutePath | None = None
    """Certificates in PEM form that the server's has to be signed by, instead of the machine's."""

    @property
    def is_near(self) -> bool:
        """Whether it is on this machine, by its URL."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @model_validator(mode="after")
    def _one_key(self) -> RemoteConfig:
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError("api_key_env and api_key_file say the same thing twice; leave one of them out")
        if self.ca_file is not None and not self.url.startswith("https:"):
            raise ValueError("ca_file is for a URL of https")
        return self
