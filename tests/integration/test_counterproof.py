"""With llmux's capture or its rebuild taken away nothing is restored: so it is they that make the other cases pass.

`LLMUX_TEST_WITHOUT=capture` (or `rebuild`) takes it away from every case: then each of test_success_*.py must fail.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest

from proof.bench import MODEL, Bench, Settings
from proof.client import RefusedError
from proof.sabotage import sabotage
from proof.story import check_cold_start, put_to_sleep

pytestmark = pytest.mark.docker

SETTINGS = Settings()


def test_without_the_rebuild_criu_misses_a_file_and_the_model_is_started_cold(desk: Bench) -> None:
    with desk.node("a", SETTINGS) as a:
        sleeper = put_to_sleep(a)
    with ExitStack() as until, without(desk, "rebuild", until).node("b", SETTINGS) as b:
        b.llmux.wake(MODEL)
        check_cold_start(b, sleeper, "No such file or directory")


def test_without_the_capture_there_is_no_checkpoint_and_the_sleep_says_so(desk: Bench) -> None:
    with ExitStack() as until, without(desk, "capture", until).node("a", SETTINGS) as a:
        answer = a.llmux.chat(MODEL)
        with pytest.raises(RefusedError, match="no manifest"):
            a.llmux.sleep(MODEL)
        assert a.llmux.status(MODEL)["checkpoint"] is None
        assert a.llmux.chat(MODEL) == answer


def without(desk: Bench, what: str, until: ExitStack) -> Bench:
    """Return the bench with a part of llmux missing in its containers."""
    return replace(desk, mounts=sabotage(what, until))
