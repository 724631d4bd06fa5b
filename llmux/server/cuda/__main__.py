"""`llmux-cuda-checkpoint`: what NVIDIA's program cuda-checkpoint does, for where that is not installed.

The first line of an error is in the form of NVIDIA's, since CRIU's plugin logs its beginning; the second is ours. Exit codes: 0, 1 for what the
driver refuses, 2 for a command line that says nothing. (NVIDIA documents none; CRIU's plugin asks for 0 or not 0.)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import assert_never

from llmux.server.cuda import _results
from llmux.server.cuda._command import HELP, Operation, Request, UsageError, parse
from llmux.server.cuda._libcuda import Libcuda
from llmux.server.cuda._results import State
from llmux.server.cuda.errors import INITIALIZE, CudaError, error_of


def main() -> None:
    """Do what the command line asks for, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Do what the words ask for; return the exit code."""
    try:
        request = parse(words)
    except UsageError as error:
        sys.stderr.write(f"llmux-cuda-checkpoint: {error}; --help says more\n")
        return 2
    if request.operation is Operation.HELP:
        sys.stdout.write(HELP)
        return 0
    try:
        answer = _do(Libcuda(request.pid), request)
    except CudaError as error:
        sys.stderr.write(f'{_beginning(request, error)}: "{error.words}"\n{error.result}. {error.hint}\n')
        return 1
    if answer:
        sys.stdout.write(f"{answer}\n")
    return 0


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
