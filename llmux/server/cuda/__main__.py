"""`llmux-cuda-checkpoint`: what NVIDIA's program cuda-checkpoint does, for where that is not installed.

The first line of an error is in the form of NVIDIA's, since CRIU's plugin logs its beginning; the second is ours. Exit codes: 0, 1 for what the
driver refuses, 2 for a command line that says nothing. (NVIDIA documents none; CRIU's plugin asks for 0 or not 0.)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO, assert_never

from llmux.server.cuda import _results
from llmux.server.cuda._command import HELP, SERVE, Operation, Request, UsageError, parse
from llmux.server.cuda._libcuda import Libcuda
from llmux.server.cuda._results import State
from llmux.server.cuda.errors import INITIALIZE, CudaError, error_of


@dataclass(frozen=True)
class Answer:
    """What becomes of a command line: its exit code and outputs."""

    code: int
    said: str = ""
    wrong: str = ""


def main() -> None:
    """Do what the command line asks for, and exit."""
    words = sys.argv[1:]
    if words == [SERVE]:
        serve(sys.stdin, sys.stdout)
        return
    answer = run(words)
    sys.stdout.write(answer.said)
    sys.stderr.write(answer.wrong)
    sys.exit(answer.code)


def serve(lines: Iterable[str], output: TextIO) -> None:
    """Answer each line: llmux has many calls made by one process, since cuInit takes long."""
    for line in lines:
        answer = run(line.split())
        output.write(json.dumps([answer.code, answer.said + answer.wrong]) + "\n")
        output.flush()


def run(words: Sequence[str]) -> Answer:
    """Do what the words ask for."""
    try:
        request = parse(words)
    except UsageError as error:
        return Answer(2, wrong=f"llmux-cuda-checkpoint: {error}; --help says more\n")
    if request.operation is Operation.HELP:
        return Answer(0, HELP)
    try:
        said = _do(Libcuda(request.pid), request)
    except CudaError as error:
        return Answer(
            1, wrong=f'{_beginning(request, error)}: "{error.words}"\n{error.result}. {error.hint}\n'
        )
    return Answer(0, f"{said}\n" if said else "")


def _do(process: Libcuda, request: Request) -> str:
    match request.operation:
        case Operation.HELP:
            return HELP
        case Operation.GET_STATE:
            return process.state().word
        case Operation.GET_RESTORE_TID:
            return str(process.restore_thread())
        case Operation.TOGGLE:
            _toggle(process, request)
        case Operation.LOCK:
            process.lock(request.timeout_ms)
        case Operation.CHECKPOINT:
            process.checkpoint()
        case Operation.RESTORE:
            process.restore(request.device_map)
        case Operation.UNLOCK:
            process.unlock()
        case _:
            assert_never(request.operation)
    return ""


def _toggle(process: Libcuda, request: Request) -> None:
    match process.state():
        case State.RUNNING:
            process.lock(request.timeout_ms)
            try:
                process.checkpoint()
            except CudaError:
                if process.state() is State.LOCKED:
                    process.unlock()
                raise
        case State.CHECKPOINTED:
            process.restore(request.device_map)
            process.unlock()
        case _:
            raise error_of("toggle", request.pid, _results.ILLEGAL_STATE)


def _beginning(request: Request, error: CudaError) -> str:
    if error.action == INITIALIZE:
        return "Error initializing CUDA"
    match request.operation:
        case Operation.TOGGLE:
            return f"Error toggling CUDA in process ID {request.pid}"
        case Operation.GET_STATE:
            return f"Could not get the state of process ID {request.pid}"
        case Operation.GET_RESTORE_TID:
            return f"Could not get the restore thread of process ID {request.pid}"
        case _:
            return f"Could not {request.operation} on process ID {request.pid}"


if __name__ == "__main__":
    main()
