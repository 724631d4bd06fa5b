"""Operations: long work that is answered when it is done, or at once, and looked at later."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from llmux.server._checkpoints import CheckpointStore
from llmux.server._web import DRIVER, error_response
from llmux.server.control._answers import Bytes, Instant, ProblemTold, Result, Seconds
from llmux.server.control._form import Answer, Call, Form, Query, answer, query_of
from llmux.server.control._jobs import Job, Jobs, Kind, Work
from llmux.server.control._progress import progress
from llmux.server.control._reckoning import HowFar, Progress
from llmux.server.control._told_parts import iso, problem_told
from llmux.server.errors import RequestInvalid

JOBS = web.AppKey("jobs", Jobs)
STORE = web.AppKey("store", CheckpointStore)

LONGEST_WAIT = 600.0
"""Seconds that one request may wait for an operation."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Patience = Annotated[float, Field(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)]


class Operation(Answer):
    """Long work, under way or over."""

    id: str
    kind: Kind
    model: str | None
    status: Literal["under_way", "done", "failed"]
    phase: str
    """What it is at: a phase of a sleep or a wake, or the name of a state (docs/control.md has them); once it is over, its status."""
    started_at: Instant
    seconds: Seconds
    """How long it has taken so far, or in all."""
    bytes: Bytes | None
    """What is written of a checkpoint, read of one, or removed."""
    bytes_in_all: Bytes | None
    """What the last checkpoint had in the end; all that is to be read, or removed."""
    percent: Annotated[float, Field(ge=0, le=100)] | None
    """An estimate."""
    eta_seconds: Seconds | None
    """An estimate by what it, and each phase of it, used to take, or by how fast bytes come."""
    result: Result | None
    """What the same call answers that waits."""
    problem: ProblemTold | None
    """Why it has failed."""


class Operations(Answer):
    """Those that are under way and the latest that are over, the latest first."""

    operations: tuple[Operation, ...]


class WaitForWork(Query):
    """How long to wait for the end of the work."""

    wait: Literal["true", "false"] | Patience = "true"
    """false: answer at once with an operation; a number: at the latest after so many seconds."""


class WaitForOperation(Query):
    """How long to wait for the end of an operation."""

    wait: Patience = 0.0
    """Seconds; the answer comes once it is over, or after these."""


async def perform(  # noqa: PLR0913, PLR0917 - what is asked, of whom, and how it is done
    request: web.Request,
    kind: Kind,
    model: str | None,
    asked: Form,
    work: Work,
    how_far: HowFar | None = None,
) -> web.Response:
    """Do work, or find that its Idempotency-Key has begun it, and answer with its result, or with an operation.

    The work goes on where the client goes. Raises RequestInvalid, TooManyOperations, IdempotencyKeyReused.
    """
    patience, prefers = _patience(request)
    jobs, key = request.app[JOBS], _key(request)
    identity = f"{request.path} {asked.model_dump_json()}"
    job = jobs.begun_by(key, identity) if key else None
    if job is None:
        job = jobs.begin(kind, model, work, how_far)
        if key:
            jobs.remember(key, identity, job)
    if await job.until_over(patience):
        return error_response(job.error) if job.error else answer(_result(job))
    headers = {"Location": f"/control/operations/{job.id}"} | prefers
    return answer(await operation_told(request, job), HTTPStatus.ACCEPTED, headers)


async def list_operations(request: web.Request) -> web.Response:
    """List operations, the latest first."""
    told = [await operation_told(request, job) for job in request.app[JOBS]]
    return answer(Operations(operations=tuple(told)))


async def show_operation(request: web.Request) -> web.Response:
    """Show one operation, once it is over or so many seconds have passed."""
    patience = query_of(request, WaitForOperation).wait
    job = request.app[JOBS].find(request.match_info["id"])
    await job.until_over(patience)
    return answer(await operation_told(request, job))


async def operation_told(request: web.Request, job: Job) -> Operation:
    """Return an operation as it is now."""
    over = job.ended is not None
    status: Literal["under_way", "done", "failed"] = (
        "failed" if job.error else "done" if over else "under_way"
    )
    now = Progress(status) if over else await progress(job, request.app[DRIVER], request.app.get(STORE))
    return Operation(
        id=job.id,
        kind=job.kind,
        model=job.model,
        status=status,
        phase=now.phase,
        started_at=iso(job.started_at),
        seconds=round(job.seconds, 3),
        bytes=now.size,
        bytes_in_all=now.size_in_all,
        percent=100.0 if status == "done" else now.percent(job.seconds),
        eta_seconds=now.eta,
        result=job.result,
        problem=problem_told(job.error.problem() if job.error else None),
    )


def _result(job: Job) -> Result:
    if job.result is None:
        raise AssertionError(f"operation {job.id} is over without result or error")
    return job.result


def _patience(request: web.Request) -> tuple[float | None, dict[str, str]]:
    """Return how long the client waits, None for ever, by `?wait=` or else by Prefer (RFC 7240), and what to say of that."""
    if "wait" in request.query:
        match query_of(request, WaitForWork).wait:
            case "true":
                return None, {}
            case "false":
                return 0.0, {}
            case seconds:
                return seconds, {}
    query_of(request, WaitForWork)
    preferences = {
        each.strip().lower() for line in request.headers.getall("Prefer", ()) for each in line.split(",")
    }
    if "respond-async" not in preferences:
        return None, {}
    waits = (each.removeprefix("wait=") for each in preferences if re.fullmatch(r"wait=[0-9]{1,3}", each))
    return min(float(next(waits, "0")), LONGEST_WAIT), {"Preference-Applied": "respond-async"}


def _key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        reason = "Idempotency-Key: is to be 1 to 255 visible characters of ASCII"
        raise RequestInvalid(reason, "Idempotency-Key")
    return key


HEADERS = {
    "Idempotency-Key": "The same key with the same request, within 24 hours, is answered by the operation that it has begun.",
    "Prefer": "`respond-async` is as `?wait=false`; with `wait=10` as well, as `?wait=10` (RFC 7240).",
}
CALLS = (
    Call("GET", "/control/operations", list_operations, {HTTPStatus.OK: Operations}),
    Call(
        "GET",
        "/control/operations/{id}",
        show_operation,
        {HTTPStatus.OK: Operation},
        (HTTPStatus.NOT_FOUND,),
        query=WaitForOperation,
    ),
)
