"""Where the engine's log goes."""

from __future__ import annotations

import logging

from llmux.tiny_engine._log import log_from_loop


def test_standard_error_has_the_lines_of_the_file(tmp_path, capsys):
    path = tmp_path / "log" / "8001.log"
    log = logging.getLogger("llmux.tiny_engine.test")
    with log_from_loop(path):
        log.info("loaded")
        log.error("the worker ended")
    log.info("said to nobody")
    said = capsys.readouterr().err
    assert [line.partition(" llmux")[0].split()[-1] for line in said.splitlines()] == ["INFO", "ERROR"]
    assert said == path.read_text()
