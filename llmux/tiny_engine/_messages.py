"""What the two processes say to each other, as JSON over ZMQ; prompts travel in the ring."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class Finish(StrEnum):
    """Why a sequence ended, in the API's words; ERROR never leaves as a finish_reason."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; top_k 0 means all; seed None means one from the operating system."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    ignore_eos: bool = False
    logprobs: int | None = None
    """How many of the likeliest tokens are told with each that is chosen; None: nothing is told."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: its name in the API, and its directory."""

    name: str
    path: str


@dataclass(frozen=True)
class Add:
    """A new sequence whose prompt of `length` tokens is the next one in the ring, at `slot`."""

    request: str
    slot: int
    length: int
    sampling: Sampling
    adapter: Adapter | None = None


@dataclass(frozen=True)
class End:
    """Stop a sequence: its client has gone (`aborted`), or its text met a stop string."""

    request: str
    aborted: bool


@dataclass(frozen=True)
class Output:
    """The next token, or the end, of a sequence; `message` and `hint` are those of an ERROR."""

    request: str
    token: int | None = None
    finish: Finish | None = None
    message: str = ""
    hint: str = ""
    logprobs: tuple[tuple[int, float], ...] = ()
    """The token's own log-probability, then those of the likeliest, where they were asked for."""


@dataclass(frozen=True)
class Call:
    """A utility call: one of the worker's methods by name; `call` tells its reply from others'."""

    method: str
    level: int = 1
    mode: str = "abort"
    tags: tuple[str, ...] = ()
    adapter: Adapter | None = None
    amount: float = 0
    tokens: tuple[int, ...] = ()
    call: int = 0


@dataclass(frozen=True)
class Status:
    """The worker's own view of itself; every reply to a call carries one."""

    asleep: tuple[str, ...]
    weights_loaded: bool
    weight_bytes: int
    cached_prefixes: int
    prefix_queries: int
    prefix_hits: int
    running: int
    aborted: int
    generated_tokens: int
    adapters: tuple[str, ...]


@dataclass(frozen=True)
class Reply:
    """The answer to a call; `error` is empty unless it was refused, `missing` if what it names is not there."""

    call: int
    status: Status
    error: str = ""
    hint: str = ""
    missing: bool = False
    vector: tuple[float, ...] = ()
    """What the call `embed` has made of its tokens."""
    device: Mapping[str, str | int] = field(default_factory=dict)
    """What the call `look` has found."""


def encode(message: Add | End | Output | Call | Reply) -> bytes:
    return json.dumps(asdict(message)).encode()


def decode_request(data: bytes) -> Add | End:
    fields = json.loads(data)
    if "aborted" in fields:
        return End(**fields)
    sampling, adapter = Sampling(**fields["sampling"]), _adapter(fields["adapter"])
    return Add(**{**fields, "sampling": sampling, "adapter": adapter})


def decode_output(data: bytes) -> Output:
    fields = json.loads(data)
    finish = fields["finish"]
    logprobs = tuple((token, logprob) for token, logprob in fields["logprobs"])
    return Output(**{**fields, "finish": None if finish is None else Finish(finish), "logprobs": logprobs})


def decode_call(data: bytes) -> Call:
    fields = json.loads(data)
    lists = {name: tuple(fields[name]) for name in ("tags", "tokens")}
    return Call(**{**fields, **lists, "adapter": _adapter(fields["adapter"])})


def decode_reply(data: bytes) -> Reply:
    fields = json.loads(data)
    status = fields["status"]
    lists = {name: tuple(status[name]) for name in ("asleep", "adapters")}
    return Reply(**{**fields, "status": Status(**{**status, **lists}), "vector": tuple(fields["vector"])})


def _adapter(fields: Mapping[str, str] | None) -> Adapter | None:
    return None if fields is None else Adapter(**fields)
