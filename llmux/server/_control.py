"""Putting models to sleep, waking them, and saying how they are.

POST /control/sleep {"model": NAME, "eviction": {"weights": ..., "process": ...}}   the eviction is optional
POST /control/wake  {"model": NAME}
                                        an adapter's name stands for its model's in both
POST /control/reload                    reads the configuration anew; without a body
GET  /control/status
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal, TypeVar, assert_never

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from llmux.server._adapters import Adapters, model_of
from llmux.server._config_faults import describe
from llmux.server._hands import Life, Stored
from llmux.server._model import (
    Asleep,
    Deepening,
    Draining,
    Eviction,
    Failed,
    GoingToSleep,
    Process,
    Running,
    Starting,
    State,
    Wake,
    Waking,
    name_of,
)
from llmux.server._record import Anew, Gone, Model, Replica
from llmux.server._reload import Reload
from llmux.server._scheduler import NodeStatus
from llmux.server._web import ADAPTERS, DRIVER, RELOADER, error_response
from llmux.server.config import EvictionConfig
from llmux.server.errors import Problem, RequestInvalid, ServerError

Json = dict[str, object]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class EvictionOverride(_Body):
    """What to do otherwise than configured; a part that is not given stays as it is."""

    weights: Literal["retain", "offload", "discard"] | None = None
    process: Literal["keep_running", "checkpoint", "stop", "cuda_suspend"] | None = None


class SleepRequest(_Body):
    """The body of POST /control/sleep."""

    model: str
    eviction: EvictionOverride | None = None


class WakeRequest(_Body):
    """The body of POST /control/wake."""

    model: str


_Form = TypeVar("_Form", bound=_Body)


def routes() -> list[web.RouteDef]:
    """Return everything below /control."""
    return [
        web.post("/control/sleep", sleep),
        web.post("/control/wake", wake),
        web.get("/control/status", status),
    ]


def reload_routes() -> list[web.RouteDef]:
    """Return what is there where there is a configuration to reload."""
    return [web.post("/control/reload", reload)]


async def sleep(request: web.Request) -> web.Response:
    """Put a model to sleep; answer once it sleeps, with the checkpoint that was made."""
    asked = await _body(request, SleepRequest)
    driver = request.app[DRIVER]
    name = model_of(driver.served, asked.model).name
    configured = driver.find(name).rules.eviction
    eviction = _merged(asked.eviction, configured) if asked.eviction else configured
    began = time.monotonic()
    model = await driver.sleep(name, eviction)
    replica = model.replicas[0]
    made = replica.stored if eviction.process is Process.CHECKPOINT else None
    return web.json_response(
        {
            "model": model.name,
            "state": name_of(replica.state),
            "eviction": _eviction(eviction),
            "seconds": round(time.monotonic() - began, 3),
            "checkpoint": made and _checkpoint(made),
        }
    )


async def wake(request: web.Request) -> web.Response:
    """Bring a model to serve; answer once it does, with how it came to."""
    asked = await _body(request, WakeRequest)
    began = time.monotonic()
    driver = request.app[DRIVER]
    model = await driver.wake(model_of(driver.served, asked.model).name)
    replica = _foremost(model)
    return web.json_response(
        {
            "model": model.name,
            "state": name_of(replica.state),
            "seconds": round(time.monotonic() - began, 3),
            "last_wake": replica.last_wake and _wake(replica.last_wake),
            "engine": replica.life and _engine(replica.life),
        }
    )


async def status(request: web.Request) -> web.Response:
    """Say how every model is."""
    models, adapters = request.app[DRIVER].models, request.app[ADAPTERS]
    described = {name: describe_model(model) | _adapters(model, adapters) for name, model in models.items()}
    reloader = request.app.get(RELOADER)
    last = reloader and reloader.last and _reload(reloader.last)
    node = _node(request.app[DRIVER].node)
    return web.json_response({"models": described, "node": node, "reload": last})


async def reload(request: web.Request) -> web.Response:
    """Read the configuration anew; answer with what that changes, or with everything that is wrong with it."""
    try:
        done = await request.app[RELOADER].reload()
    except ServerError as error:
        return error_response(error, HTTPStatus.BAD_REQUEST)
    return web.json_response(_reload(done))


def _reload(reload: Reload) -> Json:
    changes = reload.changes
    return {
        "at": _iso(reload.at),
        "problem": reload.problem and _problem(reload.problem),
        "added": list(changes.added),
        "removed": list(changes.removed),
        "changed": {change.name: list(change.fields) for change in changes.changed},
        "node": list(changes.node),
        "engines_anew": list(reload.anew),
    }


def _node(node: NodeStatus) -> Json:
    return {
        "policy": node.policy,
        "longest_wait_seconds": node.bound and round(node.bound, 3),
        "capacity": dict(node.capacity),
        "held": dict(node.held),
    }


def _adapters(model: Model, adapters: Adapters) -> Json:
    """Return what a status says of a model's adapters, where it has any."""
    paths = model.rules.adapters
    told = {
        name: {"path": paths[name], "loaded_by": replicas}
        for name, replicas in adapters.loaded(model).items()
    }
    return {"adapters": told} if told else {}


def describe_model(model: Model) -> Json:
    """Return one model as /control/status shows it: as its foremost replica is, and each where there are several."""
    foremost = _foremost(model)
    described = _replica(foremost, model)
    described["in_flight"] = sum(len(each.flights) for each in model.replicas)
    described["held"] = len(model.queue)
    if len(model.replicas) > 1:
        described["replicas"] = {each.name: _replica(each, model) for each in model.replicas}
    return described


def _foremost(model: Model) -> Replica:
    """Return the replica that serves, or is the nearest to it."""
    order = (Running, Draining, Waking, Starting)
    ranks = {kind: rank for rank, kind in enumerate(order)}
    return min(model.replicas, key=lambda each: ranks.get(type(each.state), len(order)))


def _replica(replica: Replica, model: Model) -> Json:
    state = replica.state
    return {
        "state": name_of(state),
        "becomes": _becoming(replica),
        "since": _iso(time.time() - (time.monotonic() - state.since)),
        "eviction": _eviction(_eviction_of(state, model.rules.eviction)),
        "in_flight": len(replica.flights),
        "engine": replica.life and _engine(replica.life),
        "checkpoint": replica.stored and _checkpoint(replica.stored),
        "checkpoint_problem": replica.checkpoint_problem and _problem(replica.checkpoint_problem),
        "last_wake": replica.last_wake and _wake(replica.last_wake),
        "last_move": (moved := replica.last_move)
        and {"what": moved.what, "why": moved.why, "at": _iso(moved.at)},
        "problem": (problem := _problem_of(state)) and _problem(problem),
    }


def _becoming(replica: Replica) -> str | None:
    """Say what a reload makes of it once it is at rest: another engine, or nothing."""
    match replica.becomes:
        case None:
            return None
        case Anew():
            return "anew"
        case Gone():
            return "gone"
        case _:
            assert_never(replica.becomes)


def _eviction_of(state: State, configured: Eviction) -> Eviction:
    match state:
        case Draining() | GoingToSleep() | Asleep() | Deepening() | Waking():
            return state.eviction
        case _:
            return configured


def _problem_of(state: State) -> Problem | None:
    match state:
        case Failed(why=problem):
            return problem
        case Running(sleep_failed=problem) | GoingToSleep(failed=problem) | Asleep(problem=problem):
            return problem
        case _:
            return None


def _engine(life: Life) -> Json:
    return {
        "pid": life.pid,
        "init_pid": life.init_pid,
        "started_at": _iso(life.started_at),
        "url": str(life.url),
        "log": str(life.log),
    }


def _checkpoint(stored: Stored) -> Json:
    return {
        "path": str(stored.path),
        "bytes": stored.size_bytes,
        "seconds": round(stored.seconds, 3),
        "generation": stored.generation,
        "created_at": _iso(stored.created_at),
    }


def _wake(wake: Wake) -> Json:
    return {
        "kind": wake.kind.value,
        "seconds": round(wake.seconds, 3),
        "at": _iso(wake.at),
        "reason": wake.reason or None,
    }


def _eviction(eviction: Eviction) -> Json:
    return {"weights": eviction.weights.value, "process": eviction.process.value}


def _problem(problem: Problem) -> Json:
    return {"code": problem.code, "message": problem.message, "hint": problem.hint}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


async def _body(request: web.Request, form: type[_Form]) -> _Form:
    try:
        return form.model_validate_json(await request.read())
    except ValidationError as error:
        raise RequestInvalid("; ".join(describe(error, form)), _first_field(error)) from error


def _first_field(error: ValidationError) -> str | None:
    return next((".".join(map(str, each["loc"])) for each in error.errors() if each["loc"]), None)


def _merged(override: EvictionOverride, configured: Eviction) -> Eviction:
    """Return the configured eviction with the parts that are given; a stopped engine keeps no weights."""
    process = override.process or configured.process.value
    weights = override.weights or ("discard" if process == "stop" else configured.weights.value)
    try:
        return EvictionConfig(weights=weights, process=process).eviction()
    except ValidationError as error:
        raise RequestInvalid("; ".join(describe(error, EvictionConfig)), "eviction") from error
