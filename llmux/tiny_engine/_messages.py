"""What the two processes say to each other, as JSON over ZMQ; prompts travel in the ring."""

import json
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Add:
    """A new sequence whose prompt of `length` tokens is the next one in the ring, at `slot`."""

    request: str
    slot: int
    length: int
    sampling: Sampling


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


@dataclass(frozen=True)
class Call:
    """A utility call: one of the worker's methods by name."""

    call: int
    method: str
    level: int = 1
    mode: str = "abort"
    tags: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class Reply:
    """The answer to a call; `error` is empty unless it was refused."""

    call: int
    status: Status
    error: str = ""
    hint: str = ""


def encode(message: Add | End | Output | Call | Reply) -> bytes:
    return json.dumps(asdict(message)).encode()


def decode_request(data: bytes) -> Add | End:
    fields = json.loads(data)
    if "aborted" in fields:
        return End(**fields)
    return Add(**{**fields, "sampling": Sampling(**fields["sampling"])})


def decode_output(data: bytes) -> Output:
    fields = json.loads(data)
    finish = fields["finish"]
    return Output(**{**fields, "finish": None if finish is None else Finish(finish)})


def decode_call(data: bytes) -> Call:
    fields = json.loads(data)
    return Call(**{**fields, "tags": tuple(fields["tags"])})


def decode_reply(data: bytes) -> Reply:
    fields = json.loads(data)
    status = fields["status"]
    return Reply(
        fields["call"],
        Status(**{**status, "asleep": tuple(status["asleep"])}),
        fields["error"],
        fields["hint"],
    )
