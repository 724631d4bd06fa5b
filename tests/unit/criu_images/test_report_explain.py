from __future__ import annotations

import json
from pathlib import Path

from llmux.criu_images._explain import explain_log
from llmux.criu_images._message_table import MESSAGES
from llmux.criu_images._report_explain import render_explanation, render_explanation_json, render_messages

TROUBLESHOOTING = Path(__file__).resolve().parents[3] / "docs" / "troubleshooting.md"
LOG = b"""\
(00.000029) Version: 4.2.1 (gitid 0)
(00.009876) Error (criu/tun.c:85): tun: Unable to create tun: No such file or directory
(00.200000)   1000: Error (criu/files-reg.c:2155): Can't open file tmp/\x1b[31m on restore: No such file or directory
(00.300000) Error (criu/cr-restore.c:2324): Restoring FAILED.
"""


def explain(log):
    return explain_log(log.splitlines(keepends=True))


def test_the_text_names_line_demand_path_and_cure_and_is_safe_for_a_terminal():
    text = render_explanation("restore.log", explain(LOG), ("python3(1000) fd 3",))
    assert text.startswith("restore.log: the restore of CRIU 4.2.1 failed\n")
    assert "line 3, process 1000, criu/files-reg.c:2155\n" in text
    assert "demand      file: regular file" in text
    assert r"path        /tmp/\x1b[31m" in text
    assert "used by     python3(1000) fd 3" in text
    assert "  4  Restoring FAILED." in text
    assert "1 harmless error (CRIU tries what the kernel can do and goes on): line 2" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_the_json_has_what_the_text_has():
    found = json.loads(render_explanation_json("restore.log", explain(LOG)))
    assert (found["format"], found["version"], found["outcome"]) == ("llmux-explain", 1, "failed")
    assert found["cause"]["demand"] == "file"
    assert found["cause"]["path"] == r"/tmp/\x1b[31m"
    assert (found["cause"]["errno"], found["cause"]["line"], found["errors"]) == ("ENOENT", 3, 3)
    assert [error["rank"] for error in found["other_errors"]] == ["harmless", "effect"]


def test_an_unknown_failure_shows_the_last_lines():
    text = render_explanation("x", explain(b"Error (criu/new.c:7): The moon\nError (a:1): Dumping FAILED.\n"))
    assert "The last lines\n  1  Error (criu/new.c:7): The moon\n" in text
    assert "CRIU says so; llmux knows nothing more of it." in text


def test_success_is_told_in_a_line():
    log = b"(00.4) Dumping finished successfully\n"
    assert render_explanation("dump.log", explain(log)) == "dump.log: the dump succeeded"


def test_what_a_script_wrote_is_quoted():
    log = b"boom\nError (criu/action-scripts.c:94): Script /bin/mine exited with 256\n"
    assert "  what it wrote:\n    boom\n" in render_explanation("x", explain(log))


def test_the_published_list_is_the_table():
    page = TROUBLESHOOTING.read_text()
    assert page.endswith("\n" + render_messages() + "\n"), "run `python -m llmux.criu_images explain --list`"
    assert render_messages().count("\n- `") == len(MESSAGES)
