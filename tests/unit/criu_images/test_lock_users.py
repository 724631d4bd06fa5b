"""Who has a file locked or open: real processes, as /proc shows them."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from test_locks import held

from llmux.criu_images._lock_users import FLOCKS, RANGES, name_users


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    return path


@pytest.mark.parametrize(
    ("how", "kinds"), [("flock", FLOCKS), ("POSIX", RANGES), ("OFD", RANGES), ("open", None)]
)
def test_a_user_is_named(file: Path, how: str, kinds: frozenset[bytes] | None) -> None:
    with file.open() as ours:
        with held(file, how) as pid:
            assert name_users(ours.fileno(), kinds).startswith(f"process {pid} (python")
        assert name_users(ours.fileno(), kinds) == ""


def test_another_kind_of_lock_is_not_meant(file: Path) -> None:
    with file.open() as ours, held(file, "flock"):
        assert name_users(ours.fileno(), RANGES) == ""


def test_our_own_lock_is_named_our_own_opening_is_not(file: Path) -> None:
    with file.open() as ours, file.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert name_users(ours.fileno(), FLOCKS).startswith(f"process {os.getpid()} (")
        assert name_users(ours.fileno(), None) == ""


def test_of_many_a_few_are_named(file: Path) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(held(file, "shared flock"))
        with file.open() as ours:
            said = name_users(ours.fileno(), FLOCKS)
    assert said.count("process ") == 3
    assert said.endswith(", 2 more processes")
