"""The command line of NVIDIA's program cuda-checkpoint, as its --help of driver 580 has it: words to a request. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

SERVE = "--serve"
"""The one word that is not NVIDIA's."""
HELP = """\
Checkpoints and restores the CUDA state of a process through NVIDIA's driver (570 or newer), as NVIDIA's cuda-checkpoint does.

Operations:
--get-state --pid PID
        Print the state of the process: running, locked, checkpointed, failed
--action lock | checkpoint | restore | unlock --pid PID [--timeout MS] [--device-map MAP]
        Do this to the process
--toggle --pid PID
        Take the process from running to checkpointed, or back
--get-restore-tid --pid PID
        Print the id of the thread by which the process is restored
--serve
        Do what each line of standard input says in the words above; answer each by a line of JSON: [exit code, output]

Options:
--pid|-p PID
        The process
--timeout|-t MS
        How long a lock may wait for the work that the GPU has, in milliseconds; without it, for ever
--device-map|-d OLD=NEW,...
        At a restore, the UUIDs of the GPUs that it had and of those it is to have; all of them, or none (driver 580 or newer)
--help|-h
        Print this
"""


class Operation(StrEnum):
    """What is to be done."""

    HELP = "help"
    GET_STATE = "get-state"
    GET_RESTORE_TID = "get-restore-tid"
    TOGGLE = "toggle"
    LOCK = "lock"
    CHECKPOINT = "checkpoint"
    RESTORE = "restore"
    UNLOCK = "unlock"


ACTIONS = (Operation.LOCK, Operation.CHECKPOINT, Operation.RESTORE, Operation.UNLOCK)


@dataclass(frozen=True)
class Pair:
    """A GPU that a process had, and the one that it is to have."""

    old: UUID
    new: UUID


@dataclass(frozen=True)
class Request:
    """One run of the program."""

    operation: Operation
    pid: int = 0
    timeout_ms: int = 0
    """0: for ever."""
    device_map: tuple[Pair, ...] = ()


class UsageError(Exception):
    """A command line that says nothing."""


_SHORT = {"-p": "--pid", "-t": "--timeout", "-d": "--device-map", "-h": "--help"}
_BARE = {
    "--get-state": Operation.GET_STATE,
    "--get-restore-tid": Operation.GET_RESTORE_TID,
    "--toggle": Operation.TOGGLE,
    "--help": Operation.HELP,
}
_WITH_VALUE = ("--pid", "--timeout", "--device-map", "--action")
_MOST = (1 << 31) - 1


def parse(words: Sequence[str]) -> Request:
    """Return what the words ask for. Raises UsageError."""
    operations: list[Operation] = []
    values: dict[str, str] = {}
    for name, value in _options(iter(words)):
        if name in _BARE:
            operations.append(_BARE[name])
        elif name == "--action":
            operations.append(_action(value))
        else:
            values[name] = value
    if Operation.HELP in operations:
        return Request(Operation.HELP)
    if len(operations) != 1:
        raise UsageError("one of --get-state, --action, --toggle and --get-restore-tid is needed")
    return _request(operations[0], values)


def _options(words: Iterator[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        name = _SHORT.get(name, name)
        if name in _BARE and not equals:
            yield name, ""
        elif name in _WITH_VALUE:
            given = value if equals else next(words, None)
            if given is None:
                raise UsageError(f"{name} needs a value")
            yield name, given
        else:
            raise UsageError(f"unknown option {word!r}")


def _action(value: str) -> Operation:
    if value not in ACTIONS:
        raise UsageError(f"--action is {' | '.join(ACTIONS)}, not {value!r}")
    return Operation(value)


def _request(operation: Operation, values: dict[str, str]) -> Request:
    if "--pid" not in values:
        raise UsageError("--pid is needed")
    if "--timeout" in values and operation not in {Operation.LOCK, Operation.TOGGLE}:
        raise UsageError("--timeout is for --action lock")
    if "--device-map" in values and operation not in {Operation.RESTORE, Operation.TOGGLE}:
        raise UsageError("--device-map is for --action restore")
    return Request(
        operation,
        _number("--pid", values["--pid"], least=1),
        _number("--timeout", values.get("--timeout", "0"), least=0),
        parse_device_map(values["--device-map"]) if "--device-map" in values else (),
    )


def _number(name: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= _MOST):
        raise UsageError(f"{name} is a number from {least} to {_MOST}, not {text!r}")
    return int(text)


def parse_device_map(text: str) -> tuple[Pair, ...]:
    """Return the pairs of OLD=NEW,OLD=NEW. Raises UsageError."""
    pairs = tuple(_pair(each) for each in text.split(","))
    for side in ({pair.old for pair in pairs}, {pair.new for pair in pairs}):
        if len(side) < len(pairs):
            raise UsageError(f"--device-map names a GPU twice: {text!r}")
    return pairs


def _pair(text: str) -> Pair:
    old, equals, new = text.partition("=")
    if not equals:
        raise UsageError(f"--device-map is OLD=NEW,OLD=NEW, not {text!r}")
    return Pair(_uuid(old), _uuid(new))


def _uuid(text: str) -> UUID:
    """Return a GPU's UUID as `nvidia-smi -L` prints it."""
    if text.startswith("MIG-"):
        raise UsageError(f"{text!r} is a part of a GPU (MIG), which the driver cannot restore")
    try:
        return UUID(text.removeprefix("GPU-"))
    except ValueError:
        raise UsageError(f"{text!r} is no GPU's UUID; `nvidia-smi -L` prints them") from None
