"""A real llmux before real tiny engines."""

from __future__ import annotations

import subprocess  # noqa: TID251 - the tiny engine's command that makes a model
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.served import Served, running


@pytest.fixture(scope="module")
def llmux(tmp_path_factory) -> Iterator[Served]:
    """Give a llmux with two models; tokens take their time, so that a cancelled request can be seen to end."""
    with running(tmp_path_factory.mktemp("llmux")) as served:
        yield served


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """Give a model for tiny engines, which nobody changes."""
    directory = tmp_path_factory.mktemp("model")
    train = [sys.executable, "-m", "llmux.tiny_engine", "train", str(directory), "--epochs", "1"]
    subprocess.run(train, check=True, capture_output=True)
    return directory


@pytest.fixture
def own_temporary(monkeypatch) -> Iterator[Path]:
    """Have engines bind their sockets where nobody else does: of those that are killed together with their llmux they stay."""
    with tempfile.TemporaryDirectory(prefix="sockets-") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)
