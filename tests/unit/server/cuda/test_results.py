"""The driver's answers by number, name and words."""

import pytest

from llmux.server.cuda import _results
from llmux.server.cuda._results import RESULTS, State, by_number, by_words, state_of
from llmux.server.cuda.errors import (
    INITIALIZE,
    CudaDriverMissing,
    CudaDriverTooOld,
    CudaFailed,
    CudaLockTimedOut,
    CudaNotPermitted,
    CudaNotSupported,
    CudaStateIllegal,
    GpuMemoryFull,
    HostMemoryLacking,
    NoCudaState,
    error_of,
)


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.name)
def test_each_is_found_by_its_number_and_by_its_words(result):
    assert by_number(result.number) == result
    assert by_words(result.words) == result


def test_what_is_not_listed_keeps_what_is_known_of_it():
    assert by_number(719).name == "CUresult 719"
    assert by_words("unspecified launch failure").words == "unspecified launch failure"


def test_states_by_their_words():
    assert [state_of(state.word) for state in State] == list(State)
    assert state_of("asleep") is None


@pytest.mark.parametrize(
    ("result", "kind", "hint"),
    [
        (_results.NO_LIBRARY, CudaDriverMissing, "--gpus all"),
        (_results.NO_API, CudaDriverTooOld, "570"),
        (_results.NO_DEVICE, CudaDriverMissing, "CUDA_VISIBLE_DEVICES"),
        (_results.NOT_PERMITTED, CudaNotPermitted, "persistence mode"),
        (_results.INVALID_VALUE, NoCudaState, "nvidia-smi"),
        (_results.ILLEGAL_STATE, CudaStateIllegal, "--get-state"),
        (_results.NOT_READY, CudaLockTimedOut, "still at work"),
        (_results.NOT_SUPPORTED, CudaNotSupported, "MIG"),
        (_results.OUT_OF_MEMORY, GpuMemoryFull, "Free memory"),
        (_results.UNKNOWN, CudaFailed, "Xid"),
    ],
)
def test_an_error_says_what_happened_and_what_to_do(result, kind, hint):
    error = error_of("lock", 7, result)
    assert type(error) is kind
    assert str(error).startswith(f"NVIDIA's driver could not lock process 7: {result.name}")
    assert hint in error.hint


def test_a_driver_that_does_not_start_says_nothing_of_the_process():
    assert type(error_of(INITIALIZE, 7, _results.NOT_INITIALIZED)) is CudaFailed


def test_codes_are_what_programs_know_errors_by():
    assert error_of("lock", 7, _results.NOT_READY).code == "cuda_lock_timed_out"
    assert HostMemoryLacking(3 << 30, 1 << 29).what() == (
        "3.0 GiB on the GPUs do not fit into the 0.5 GiB of host memory that are left"
    )
