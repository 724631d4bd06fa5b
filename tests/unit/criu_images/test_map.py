"""CONTRIBUTING.md's map: a newcomer finds each module of the library in it."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MODULES = {path.name for path in (ROOT / "llmux/criu_images").glob("*.py")}


def patterns() -> set[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    part = text.partition("\nllmux/criu_images/ ")[2].partition("\nllmux/server/ ")[0]
    return set(re.findall(r"[\w*]+\.py", part))


def test_each_module_is_in_the_map():
    assert {name for name in MODULES if not any(fnmatch(name, each) for each in patterns())} == set()


def test_all_that_is_in_the_map_is_there():
    assert {each for each in patterns() if not any(fnmatch(name, each) for name in MODULES)} == set()
