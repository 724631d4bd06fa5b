"""What a call of the control API takes and answers, as types: the OpenAPI document is made of them, and so is every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from llmux.server._config_faults import describe
from llmux.server.errors import RequestInvalid

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Documented(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True
    )


class Form(_Documented):
    """The JSON body of a request: strict, and with no field that it does not know."""

    model_config = ConfigDict(strict=True)


class Query(_Documented):
    """The parameters of a request's query, each given once at most."""


class Answer(_Documented):
    """A JSON answer, or a part of one."""


class ErrorTold(Answer):
    """What went wrong."""

    message: str
    """What happened, and what to do next."""
    type: str
    """Its kind, as OpenAI's clients know it."""
    param: str | None
    """The field at fault, where there is one."""
    code: str
    """The same for programs: it does not change."""
    hint: str
    """What to do next, once more alone; may be empty."""


class Errors(Answer):
    """The form of every error."""

    error: ErrorTold


@dataclass(frozen=True)
class Media:
    """An answer that is no JSON of ours."""

    content_type: str
    told: str
    """What it holds."""
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True)
class Call:
    """One method on one path. The handler's docstring says in the document what it does."""

    method: str
    path: str
    handle: Handler
    answers: Mapping[HTTPStatus, type[Answer] | Media]
    errors: tuple[HTTPStatus, ...] = ()
    """How it may refuse."""
    body: type[Form] | None = None
    query: type[Query] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of a request that it heeds, each with what it is for."""

    @property
    def theme(self) -> str:
        """Return the part of the API that it belongs to: what comes after /control/."""
        parts = self.path.strip("/").split("/")
        return parts[1] if parts[0] == "control" and len(parts) > 1 else parts[0]


_Body = TypeVar("_Body", bound=Form)
_Query = TypeVar("_Query", bound=Query)


async def body_of(request: web.Request, form: type[_Body]) -> _Body:
    """Return the body of a request; none stands for an empty object, where that is enough. Raises RequestInvalid."""
    body = await request.read()
    try:
        return form.model_validate_json(b"{}" if not body and is_optional(form) else body)
    except ValidationError as error:
        raise invalid(error, form) from error


def is_optional(form: type[Form]) -> bool:
    """Say whether a body may be left out: nothing in it is required."""
    return not any(field.is_required() for field in form.model_fields.values())


def query_of(request: web.Request, form: type[_Query]) -> _Query:
    """Return what a request asks for in its query. Raises RequestInvalid."""
    twice = sorted(name for name in set(request.query) if len(request.query.getall(name)) > 1)
    if twice:
        raise RequestInvalid(f"{twice[0]}: is given more than once", twice[0])
    try:
        return form.model_validate(dict(request.query))
    except ValidationError as error:
        raise invalid(error, form) from error


def invalid(error: ValidationError, form: type[BaseModel], param: str | None = None) -> RequestInvalid:
    """Return what is wrong with a value, as a client is told; `param` is the field that all of it came in."""
    first = next((".".join(map(str, each["loc"])) for each in error.errors() if each["loc"]), None)
    return RequestInvalid("; ".join(describe(error, form)), param or first)


def answer(
    told: Answer, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return an answer as it is sent."""
    return web.Response(
        text=told.model_dump_json(), status=status, content_type="application/json", headers=headers
    )
