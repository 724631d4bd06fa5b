"""Every Python that llmux starts on a module of its own: nothing of the directory that llmux was started in is run by it, as root."""

from __future__ import annotations

import re
from pathlib import Path

import llmux

_STARTS = re.compile(r"""(?:sys\.executable,|"\$LLMUX_PYTHON") (?P<options>[^)\n]*?)"?-m"?,? "?llmux\.""")


def test_none_looks_for_modules_where_it_is_started():
    root = Path(llmux.__file__).parent
    starts = [
        found["options"]
        for file in root.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
        for found in _STARTS.finditer(file.read_text("utf-8", "replace"))
    ]
    assert len(starts) >= 5
    assert {each.strip(', "') for each in starts} == {"-P"}
