"""`make clean` knows every place that a tool of `make lint` leaves something in."""

from __future__ import annotations

import subprocess  # noqa: TID251 - ruff is asked
import sys
from pathlib import Path

import pytest

from llmux_setup.cli import _TOOLS_LEAVINGS
from llmux_setup.paths import ROOT

CONFIGURATIONS = sorted(
    path for top in ("docker", "llmux", "tests") for path in (ROOT / top).rglob("ruff.toml")
)


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_ruff_has_one_cache_whichever_of_its_configurations_holds(path: Path) -> None:
    words = [sys.executable, "-m", "ruff", "check", "--show-settings", path.parent]
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert f'cache_dir = "{ROOT / ".ruff_cache"}"' in told.splitlines()
    assert ".ruff_cache" in _TOOLS_LEAVINGS


def test_there_are_such_configurations() -> None:
    assert CONFIGURATIONS
