"""The doctor's trial of CRIU, in real sandboxes; the CRIU here only says what it is told to. The real one's are the containers' tests."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from llmux.server.doctor import Wanted, _trial

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = set(Path(tempfile.gettempdir()).glob("llmux-doctor-*"))
    yield
    assert set(Path(tempfile.gettempdir()).glob("llmux-doctor-*")) == before


def criu(directory, script):
    path = directory / "criu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Wanted(criu_path=str(path))


async def test_a_failed_dump_is_told_in_criu_s_words(tmp_path):
    said = "(00.001) Error (criu/cr-dump.c:1): Can't seize task 1000: Operation not permitted"
    tried = await _trial.dump_and_restore(criu(tmp_path, f'echo "{said}"; exit 1'))
    assert "Can't seize task 1000: Operation not permitted" in tried.dump.reason
    assert (tried.restore, tried.dump_seconds) == (None, None)


async def test_a_failed_restore_is_told_with_what_the_dump_took(tmp_path):
    script = '[ $1 = dump ] || { echo "(00.001) Error (criu/x.c:1): Can\'t fork: No such device"; exit 1; }'
    tried = await _trial.dump_and_restore(criu(tmp_path, script))
    assert "Can't fork: No such device" in tried.restore.reason
    assert (tried.dump, tried.dump_seconds > 0) == (None, True)
