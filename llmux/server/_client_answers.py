"""What commands read of the control API's answers. What an older or newer llmux says beside that is left alone."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from llmux.server._client import Json, NotReached
from llmux.server._config_faults import describe

_Answer = TypeVar("_Answer", bound=BaseModel)


def read(form: type[_Answer], answer: Json) -> _Answer:
    """Return what an answer says. Raises NotReached where that is no answer of llmux's."""
    try:
        return form.model_validate(answer)
    except ValidationError as error:
        hint = "Is that llmux, and of the same version?"
        raise NotReached("its port", f"its answer: {'; '.join(describe(error, form))}", hint=hint) from error


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Eviction(_Read):
    """How deep a sleep is."""

    weights: str
    process: str


class Problem(_Read):
    """Why something did not work."""

    code: str
    message: str
    hint: str = ""


class Checkpoint(_Read):
    """A checkpoint on disk."""

    path: str
    bytes: int
    generation: int
    created_at: datetime


class Wake(_Read):
    """How a model last came to serve."""

    kind: str
    seconds: float
    reason: str | None = None


class Engine(_Read):
    """The processes of one."""

    log: str
    """Where it writes its output."""


class Replica(_Read):
    """One engine of a model."""

    state: str
    since: datetime
    eviction: Eviction
    in_flight: int
    engine: Engine | None = None
    checkpoint: Checkpoint | None = None
    last_wake: Wake | None = None
    problem: Problem | None = None
    checkpoint_problem: Problem | None = None
    phase: str | None = None
    gpu_memory: dict[str, int] | None = None


class Model(Replica):
    """One model, as its foremost replica is."""

    held: int
    pinned: bool = False
    draining: bool = False
    replicas: dict[str, Replica] = {}


class Gpu(_Read):
    """A GPU as NVML tells."""

    index: int
    memory: int | None = None
    used: int | None = None
    others: int | None = None
    problem: Problem | None = None


class Node(_Read):
    """What the node has for models, and what of it is taken."""

    policy: str
    mode: str = "auto"
    draining: bool = False
    capacity: dict[str, int]
    held: dict[str, int]
    gpus: tuple[Gpu, ...] = ()


class Status(_Read):
    """The answer of GET /control/status."""

    models: dict[str, Model]
    node: Node


class Slept(_Read):
    """The answer of POST /control/sleep."""

    model: str
    state: str
    already: bool = False
    eviction: Eviction
    seconds: float
    checkpoint: Checkpoint | None = None


class Woken(_Read):
    """The answer of POST /control/wake."""

    model: str
    state: str
    already: bool = False
    seconds: float
    last_wake: Wake | None = None


class Switched(Woken):
    """The answer of POST /control/switch."""

    put_to_sleep: tuple[str, ...] = ()


class Pinned(_Read):
    """The answer of POST /control/pin and /control/unpin."""

    model: str
    pinned: bool


class Mode(_Read):
    """The answer of GET and PUT /control/mode."""

    mode: str


class Drained(_Read):
    """The answer of POST /control/drain and /control/undrain."""

    model: str | None = None
    draining: bool
    seconds: float | None = None


class Reloaded(_Read):
    """The answer of POST /control/reload."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: dict[str, tuple[str, ...]] = {}
    node: tuple[str, ...] = ()
    engines_anew: tuple[str, ...] = ()


class Request(_Read):
    """One request that waits, or is being answered."""

    id: str
    request_id: str = ""
    model: str
    method: str
    path: str
    state: str
    seconds: float
    replica: str | None = None


class Requests(_Read):
    """The answer of GET /control/requests."""

    requests: tuple[Request, ...]


class Operation(_Read):
    """Long work, as GET /control/operations/ID answers."""

    id: str
    status: str
    phase: str
    seconds: float
    bytes: int | None = None
    bytes_in_all: int | None = None
    percent: float | None = None
    eta_seconds: float | None = None
    result: Json | None = None
    problem: Problem | None = None


class CheckpointEntry(_Read):
    """A checkpoint, or what lies where checkpoints do."""

    name: str
    kind: str
    path: str | None = None
    bytes: int | None = None
    generation: int | None = None
    age_seconds: float | None = None
    eviction: Eviction | None = None
    use: str = "none"
    problem: Problem | None = None


class Captured(_Read):
    """What the manifest of a checkpoint says of how it was made."""

    host: str
    kernel: str
    criu: str | None = None
    llmux: str
    carried_files: int
    carried_bytes: int


class CheckpointShown(CheckpointEntry):
    """The answer of GET /control/checkpoints/NAME."""

    created_at: datetime | None = None
    captured: Captured | None = None


class Task(_Read):
    """A process."""

    pid: int
    comm: str
    threads: tuple[int, ...] = ()


class User(_Read):
    """Who has something open, or mapped."""

    pid: int


class UnixSocket(_Read):
    """A Unix socket; one that a restore binds has a path, or the name of an abstract one."""

    binds: bool = False
    bind_path: str | None = None
    name: str = ""
    users: tuple[User, ...] = ()


class InetSocket(_Read):
    """A socket of TCP or UDP."""

    protocol: int
    source: str
    source_port: int
    users: tuple[User, ...] = ()


class Reference(_Read):
    """A path that a restore asks for."""

    kind: str


class Need(_Read):
    """What else a restore has to be given."""

    kind: str
    what: str


class Caution(_Read):
    """What CRIU does not bring back as it was."""

    what: str


class Unread(_Read):
    """What the library does not know in an image."""

    image: str
    why: str


class Contents(_Read):
    """The answer of GET /control/checkpoints/NAME/report (docs/json.md)."""

    tasks: tuple[Task, ...]
    unix_sockets: tuple[UnixSocket, ...] = ()
    inet_sockets: tuple[InetSocket, ...] = ()
    paths: tuple[Reference, ...] = ()
    ids: tuple[int, ...] = ()
    needs: tuple[Need, ...] = ()
    cautions: tuple[Caution, ...] = ()
    unknown: tuple[Unread, ...] = ()


class MissingPath(_Read):
    """What a restore asks for and is not here."""

    path: str
    mended_by: str


class Missing(_Read):
    """The answer of GET /control/checkpoints/NAME/missing."""

    missing: tuple[MissingPath, ...]


class Checkpoints(_Read):
    """The answer of GET /control/checkpoints."""

    checkpoints: tuple[CheckpointEntry, ...]


class Verified(_Read):
    """The answer of POST /control/checkpoints/NAME/verify."""

    name: str
    generation: int
    sound: bool
    fault: str | None = None
    seconds: float


class Pruned(_Read):
    """The answer of POST /control/checkpoints/prune."""

    dry_run: bool
    removed: tuple[CheckpointEntry, ...]
    kept: tuple[CheckpointEntry, ...]


class LogProbs(_Read):
    """Each token of an answer, and how probable it was; engines tell none of a first token now and then."""

    tokens: tuple[str, ...] = ()
    token_logprobs: tuple[float | None, ...] = ()


class Choice(_Read):
    """One answer of a model."""

    text: str
    logprobs: LogProbs | None = None


class Completion(_Read):
    """The answer of POST /v1/completions."""

    choices: tuple[Choice, ...]
