"""Who is hurt by which error."""

from __future__ import annotations

import pytest

from llmux.server.gpus._xid import Hurt, hurt, in_words


@pytest.mark.parametrize(
    ("number", "whom", "words"),
    [
        (31, Hurt.PROCESS, "Xid 31 (GPU memory page fault)"),
        (94, Hurt.ENGINES, "Xid 94 (contained ECC error)"),
        (79, Hurt.GPU, "Xid 79 (the GPU has fallen off the bus)"),
        (63, Hurt.NOBODY, "Xid 63 (a row of memory is to be remapped at the next reset)"),
        (9999, Hurt.ENGINES, "Xid 9999"),
    ],
)
def test_an_error_hurts_whom_nvidia_says(number, whom, words):
    assert (hurt(number), in_words(number)) == (whom, words)
