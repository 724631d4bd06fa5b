"""The commands before a real llmux with a real tiny engine: a model is put to sleep in each way that needs no CRIU, and compared."""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - the command line is tested as processes
import sys
from collections.abc import Iterator

import pytest
from ports import free_port

pytestmark = pytest.mark.root

LLMUX = (sys.executable, "-m", "llmux.server")
NAME, OTHER = "lighthouse", "harbour"


@pytest.fixture
def host(tmp_path, trained) -> Iterator[str]:
    """Serve two models, configured in YAML, of which one at a time is awake; give where llmux is."""
    port, path, log = free_port(), tmp_path / "config.yaml", tmp_path / "llmux.log"
    path.write_text(
        f"""\
models:
  {NAME}:
    model_path: {trained}
    port: {free_port()}
    engine: tiny
    eviction: &shallow {{weights: discard, process: keep_running}}
  {OTHER}: {{model_path: {trained}, port: {free_port()}, engine: tiny, eviction: *shallow}}
max_awake: 1
checkpoint: {{images_dir: {tmp_path}/images}}
log_dir: {tmp_path}/log
state_dir: {tmp_path}/state
host: 127.0.0.1
port: {port}
policy: {{policy_type: fifo, min_active_secs: 0, eviction: *shallow}}
engines_at_exit: stop
hooks:
  - command: [sh, -c, 'echo "$LLMUX_EVENT_KIND" >> {tmp_path}/told']
"""
    )
    with log.open("wb") as file:
        llmux = subprocess.Popen([*LLMUX, "serve", "--config", str(path)], stderr=file)
    try:
        while "serving" not in log.read_text():
            assert llmux.poll() is None, log.read_text()
        yield f"127.0.0.1:{port}"
        llmux.send_signal(signal.SIGTERM)
        assert llmux.wait(60) == 0
    finally:
        llmux.kill()
        llmux.wait()


def run(*argv: str, host: str, code: int = 0) -> str:
    done = subprocess.run(
        [*LLMUX, *argv],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"LLMUX_HOST": host},
        timeout=100,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_a_model_is_the_same_after_each_way_of_sleeping(host):
    evictions = ("retain:keep_running", "discard:keep_running", "discard:stop")
    options = [word for each in evictions for word in ("--evictions", each)]
    trials = [json.loads(line) for line in run("validate", NAME, "--json", *options, host=host).splitlines()]
    assert [trial["wake_kind"] for trial in trials] == ["warm", "warm", "cold_start"]
    for trial in trials:
        assert (trial["problem"], trial["differing_tokens"]) == (None, 0)
        assert trial["tokens"] >= 3


def test_it_sleeps_wakes_and_is_told_of(host, tmp_path):
    assert run("wake", NAME, host=host).startswith(f"{NAME}: awake after ")
    assert "(process ended)" in run("sleep", NAME, "--process", "stop", host=host)
    row = run("status", host=host).splitlines()[1]
    assert row.split()[:2] == [NAME, "asleep"]
    told = (tmp_path / "told").read_text().split()
    assert told[0] == "decided"
    assert "wake_done" in told


def test_what_clients_get_is_measured(host):
    told = json.loads(run("bench", NAME, "--requests", "6", "--concurrency", "3", "--json", host=host))
    model = told["models"][NAME]
    assert (told["ended"], model["answers"], model["errors"]) == ("done", 6, {})
    assert model["wakes"]["cold"] >= 1
    assert model["tokens"] >= 6
    assert model["first_token"]["p99"] >= model["queued"]["p99"] > 0


def test_switches_are_measured_from_both_sides(host):
    argv = ("bench", NAME, OTHER, "--switches", "6", "--max-tokens", "2", "--json")
    told = json.loads(run(*argv, host=host))
    assert told["remarks"] == []
    for model in told["models"].values():
        assert (model["requests"], model["switched"], model["wakes"]) == (3, 3, {"cold": 1, "warm": 2})
        # llmux counts a wait from the request's arrival on, so what it did meanwhile is within it, but for rounding.
        assert model["queued"]["p50"] + 0.002 >= model["wake"]["p50"]
        assert model["sleep"]["count"] >= 2
    alone = json.loads(run("bench", OTHER, "--switches", "2", "--json", host=host))["models"][OTHER]
    assert alone["slept"]["count"] == alone["wakes"]["warm"] == 2
