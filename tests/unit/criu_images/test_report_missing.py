from __future__ import annotations

import json

from llmux.criu_images._missing import Missing
from llmux.criu_images._paths import RawPath
from llmux.criu_images._report_missing import render_missing, render_missing_json

ONE = Missing(RawPath(b"/a\nb"), "fifo", "nothing is here", "rebuild")


def test_a_line_for_each_path_and_their_number():
    assert render_missing([ONE]) == (
        "missing  /a\\nb  (fifo; nothing is here; brought by rebuild)\n1 path missing"
    )
    assert render_missing([]) == "0 paths missing"


def test_the_same_as_json():
    assert json.loads(render_missing_json([ONE])) == {
        "version": 1,
        "missing": [{"path": "/a\\nb", "kind": "fifo", "found": "nothing is here", "mended_by": "rebuild"}],
    }
