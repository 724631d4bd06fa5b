"""A real Prometheus reads a real llmux whose models sleep on disk and wake: every panel and every rule has something to show."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess  # noqa: TID251 - Prometheus is a program
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ports import free_port

from proof.bench import Model, Node, Settings
from proof.client import RefusedError

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/llmux.json"
VARIABLES = {"$job": ".*", "$instance": ".*", "$model": ".*", "$__rate_interval": "1m", "$__range": "5m"}
GPU = re.compile(r"llmux_(replica_)?gpu_")
"""What is empty where there is no GPU; tests/integration/server/test_gpus.py has one that is stood in for."""
SCRAPED_EVERY = 1.0
ROUNDS = 2

pytestmark = pytest.mark.docker


def promtool(*arguments: str | Path) -> str:
    assert shutil.which("promtool"), "no promtool: run `make setup`, or install Debian's package prometheus"
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_rules():
    assert "SUCCESS" in promtool("check", "rules", RULES)


def test_each_alert_fires_where_it_should_and_not_where_all_is_well():
    assert "SUCCESS" in promtool("test", "rules", Path(__file__).with_name("alerts.test.yml"))


class Prometheus:
    """A running one, asked over HTTP."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **query: str) -> dict:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        return [float(each["value"][1]) for each in self.ask("query", query=expression)["result"]]

    def ready(self) -> bool:
        with suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/-/ready", timeout=2).status == 200
        return False


@contextmanager
def prometheus(directory: Path, target: int) -> Iterator[Prometheus]:
    """Run one that reads from this port with the rules of deploy/."""
    port, config = free_port(), directory / "prometheus.yml"
    settings = {
        "global": {"scrape_interval": f"{SCRAPED_EVERY:g}s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "llmux", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]},
        ],
    }
    config.write_text(json.dumps(settings))  # which is YAML too
    promtool("check", "config", config)
    command = [
        *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            reader = Prometheus(port)
            until(reader.ready, (directory / "log").read_text)
            yield reader
        finally:
            running.terminate()


def until(condition, told=lambda: "it never came", seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.1)


def live(node: Node, reader: Prometheus) -> None:
    """Have the two models take turns, be asked with requests in flight, fail at something, and be seen at each step."""
    for _ in range(ROUNDS):
        for name in ("a", "b"):
            node.llmux.chat(name)
            with node.llmux.http.open("POST", "/v1/chat/completions", long(name)):
                node.llmux.sleep(name)  # which waits for the answer: a drain
            node.llmux.chat(name)
            node.llmux.chat(name)
            with suppress(RefusedError):
                node.llmux.chat("nobody")
            seen(reader)


def long(name: str) -> dict:
    message = {"role": "user", "content": "How long does the lamp burn?"}
    return {"model": name, "messages": [message], "max_tokens": 24, "stream": True}


def seen(reader: Prometheus) -> None:
    """Wait until everything up to now has been read twice."""
    now = time.time()
    until(lambda: any(each > now + SCRAPED_EVERY for each in reader.values("timestamp(llmux_build_info)")))


@pytest.fixture
def read_llmux(desk, tmp_path) -> Iterator[Prometheus]:
    """Give a Prometheus that has read an llmux through some turns of its models, and reads it still."""
    slow = {"extra_args": ["--token-delay", "0.02"]}
    models = tuple(Model(name, free_port(), slow) for name in ("a", "b"))
    bounds = {"max_awake": 1, "metrics_port": free_port()}
    settings = Settings(models=models, port=free_port(), checkpoint={"reuse": False}, fields=bounds)
    with (
        desk.node("metrics", settings, network="host") as node,
        prometheus(tmp_path, settings.fields["metrics_port"]) as reader,
    ):
        live(node, reader)
        yield reader


def test_every_panel_and_rule_has_something_to_show(read_llmux):
    panels = json.loads(DASHBOARD.read_text())["panels"]
    targets = [
        (panel["title"], target["expr"])
        for panel in panels
        for target in panel.get("targets", ())
        if not GPU.search(target["expr"])
    ]
    assert len(targets) > 30
    silent = [
        (title, expression)
        for title, expression in targets
        if not any(not math.isnan(value) for value in read_llmux.values(filled(expression)))
    ]
    assert silent == []
    groups = read_llmux.ask("rules")["groups"]
    assert [rule["lastError"] for group in groups for rule in group["rules"] if "lastError" in rule] == []
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    assert read_llmux.values('ALERTS{alertstate="firing"}') == []
    for recorded in ("model:llmux_requests:rate5m", "model:llmux_time_to_first_token_seconds:p95_5m"):
        assert read_llmux.values(recorded)
    assert_the_run_is_told(read_llmux)


def assert_the_run_is_told(reader: Prometheus) -> None:
    turns = {"model": "a", "kind": "restored", "result": "done"}
    assert reader.values(selected("llmux_wakes_total", **turns)) == [float(2 * ROUNDS - 1)]
    for phase in ("drain", "engine_sleep", "dump", "frozen", "capture"):
        assert reader.values(selected("llmux_sleep_phase_seconds_sum", model="a", phase=phase))[0] > 0, phase
    for phase in ("restore", "health", "wake"):
        assert reader.values(selected("llmux_wake_phase_seconds_sum", model="a", phase=phase))[0] > 0, phase
    assert reader.values("llmux_checkpoint_bytes{model='a'}")[0] > 1 << 20
    assert reader.values("vllm:generation_tokens_total{model='b', replica='b'}")[0] > 0
    assert reader.values("llmux_tokens_total{model='a', kind='completion'}")[0] > 0


def selected(name: str, **labels: str) -> str:
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def filled(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression
