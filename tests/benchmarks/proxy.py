"""Requests a second through llmux, and through others that pass requests on, side by side.

    make bench ROW=proxy

Each front passes a chat whose answer has 200 bytes on to the same nginx, which stands for an engine; 16 connections ask without a pause.
The front has one core for itself; the load (wrk) and nginx have the other. All fronts are asked in turn, several rounds, so that what else runs on
the machine hits all alike; the medians count. The exit code is 1 where llmux answers less than four fifths of what a bare aiohttp proxy does, or
less than 40 times as much as LiteLLM's proxy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess  # noqa: TID251 - the fronts are programs of others
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docker"))

from llmux_setup import debian, python

ROOT = Path(__file__).resolve().parents[2]
LITELLM = ROOT / ".cache" / "litellm"
ROUNDS, SECONDS, CONNECTIONS = 5, 6, 16
ENGINE, NGINX, BARE, LLMUX, LITE = range(23100, 23105)
LEAST_OF_BARE, LEAST_OF_LITELLM = 0.8, 40.0

CHAT = {
    "model": "m",
    "messages": [{"role": "user", "content": "What is a lighthouse? Answer in one sentence, please."}],
}
_MESSAGE = {"role": "assistant", "content": "A tower with a light."}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
}

NGINX_CONF = """
daemon off; worker_processes 1; pid {directory}/{port}.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {directory}/{port}.body; proxy_temp_path {directory}/{port}.proxy; fastcgi_temp_path {directory}/{port}.fcgi;
  uwsgi_temp_path {directory}/{port}.uwsgi; scgi_temp_path {directory}/{port}.scgi;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 16; }}
  server {{ listen 127.0.0.1:{port}; default_type application/json; {locations} }}
}}
"""
ENGINE_LOCATIONS = "location = /health {{ return 200 '{{}}'; }} location / {{ return 200 '{answer}'; }}"
PROXY_LOCATIONS = (
    'location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; }'
)

BARE_PROXY = """
import asyncio, sys
import aiohttp
from aiohttp import web

async def forward(request):
    async with request.app["session"].request(
        request.method, "http://127.0.0.1:{engine}" + request.path_qs, data=await request.read(),
        headers={{"Content-Type": "application/json"}},
    ) as answer:
        response = web.StreamResponse(status=answer.status, headers={{"Content-Type": "application/json"}})
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response

async def session(app):
    app["session"] = aiohttp.ClientSession()
    yield
    await app["session"].close()

app = web.Application()
app.cleanup_ctx.append(session)
app.router.add_route("*", "/{{path:.*}}", forward)
web.run_app(app, host="127.0.0.1", port={port}, access_log=None, print=None)
"""

LITELLM_CONFIG = {
    "model_list": [
        {
            "model_name": "m",
            "litellm_params": {
                "model": "openai/m",
                "api_base": f"http://127.0.0.1:{ENGINE}/v1",
                "api_key": "none",
            },
        }
    ],
    "litellm_settings": {"telemetry": False},
}


@dataclass(frozen=True)
class Front:
    """Something that passes requests on."""

    name: str
    port: int
    argv: tuple[str, ...]
    health: str = "/health"


def fronts(directory: Path, engine: list[str]) -> tuple[Front, ...]:
    """Return all of them; what they need lies in `directory`. llmux runs the engine, by the command `engine`."""
    (directory / "nginx.conf").write_text(
        NGINX_CONF.format(directory=directory, port=NGINX, engine=ENGINE, locations=PROXY_LOCATIONS)
    )
    (directory / "bare.py").write_text(BARE_PROXY.format(port=BARE, engine=ENGINE))
    (directory / "llmux.json").write_text(json.dumps(llmux_config(directory, engine)))
    (directory / "litellm.json").write_text(json.dumps(LITELLM_CONFIG))
    ours = (sys.executable,)
    serve = (*ours, "-m", "llmux.server", "serve", "--config", str(directory / "llmux.json"))
    lite = (
        str(LITELLM / "bin/litellm"),
        "--config",
        str(directory / "litellm.json"),
        "--host",
        "127.0.0.1",
        "--port",
        str(LITE),
    )
    return (
        Front("nginx, proxy_pass", NGINX, ("nginx", "-c", str(directory / "nginx.conf"))),
        Front("bare aiohttp", BARE, (*ours, str(directory / "bare.py"))),
        Front("llmux", LLMUX, serve),
        Front("LiteLLM", LITE, lite, "/health/liveliness"),
    )


def llmux_config(directory: Path, engine: list[str]) -> dict[str, object]:
    """Return a configuration with one model, whose engine the command `engine` runs."""
    model = {
        "model_path": "m",
        "port": ENGINE,
        "engine": "command",
        "command": engine,
        "eviction": {"weights": "discard", "process": "stop"},
        "calls": {"keep_alive": True},  # as vLLM's server does
    }
    return {
        "models": {"m": model},
        "port": LLMUX,
        "host": "127.0.0.1",
        "log_dir": str(directory / "log"),
        "state_dir": str(directory / "state"),
        "checkpoint": {"images_dir": str(directory / "images")},
    }


@contextmanager
def running(front: Front, directory: Path) -> Iterator[int]:
    """Run a front on the first core until the block ends; give its process id."""
    said = directory / f"{front.port}.log"
    with said.open("w") as log:
        process = subprocess.Popen(["taskset", "--cpu-list", "0", *front.argv], stdout=log, stderr=log)
        try:
            until_it_answers(front, lambda: process.poll() is None)
            yield process.pid
        except TimeoutError:
            say(said.read_text(errors="replace")[-2000:])
            raise
        finally:
            process.terminate()
            process.wait(30)


def until_it_answers(front: Front, lives: Callable[[], bool]) -> None:
    """Wait for a front's health, and for an answer to a chat. Raises TimeoutError."""
    deadline = time.monotonic() + 300
    chat = urllib.request.Request(
        f"http://127.0.0.1:{front.port}/v1/chat/completions",
        json.dumps(CHAT).encode(),
        {"Content-Type": "application/json"},
    )
    while lives() and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{front.port}{front.health}", timeout=5):
                pass
            with urllib.request.urlopen(chat, timeout=60) as answer:
                content = json.load(answer)["choices"][0]["message"]["content"]
        except (OSError, urllib.error.URLError, ValueError):
            time.sleep(0.2)
            continue
        if content == _MESSAGE["content"]:
            return
    raise TimeoutError(f"{front.name} does not answer on port {front.port}")


def load(front: Front, script: Path, seconds: int) -> tuple[float, float]:
    """Ask a front without a pause; return answers a second, and the 99th percentile of the latency in ms. Raises ValueError."""
    argv = [
        "taskset",
        "--cpu-list",
        "1",
        "wrk",
        "--threads=1",
        f"--connections={CONNECTIONS}",
        f"--duration={seconds}s",
        "--latency",
    ]
    argv += ["--timeout=30s", f"--script={script}", f"http://127.0.0.1:{front.port}/v1/chat/completions"]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise ValueError(f"{front.name}: {told}")
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", told).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1]), float(value) * {
        "us": 0.001,
        "ms": 1,
        "s": 1000,
    }[unit]


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def need_programs() -> None:
    """Install what is asked and compared: wrk and nginx by apt, LiteLLM in an environment of its own."""
    for program, package in (("wrk", "wrk"), ("nginx", "nginx-light")):
        if shutil.which(program) is None:
            debian.install(package, why=f"{program}, for this benchmark,")
    python.make_environment(LITELLM, python.LITELLM_LOCK)


def main() -> int:
    need_programs()
    with tempfile.TemporaryDirectory(prefix="llmux-proxy-") as name, ExitStack() as stack:
        directory = Path(name)
        script = directory / "chat.lua"
        script.write_text(
            f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [[{json.dumps(CHAT)}]]\n"
        )
        locations = ENGINE_LOCATIONS.format(answer=json.dumps(ANSWER, separators=(",", ":")))
        (directory / "engine.conf").write_text(
            NGINX_CONF.format(directory=directory, port=ENGINE, engine=ENGINE, locations=locations)
        )
        measured = fronts(
            directory, ["taskset", "--cpu-list", "1", "nginx", "-c", str(directory / "engine.conf")]
        )
        # llmux starts the engine that all of them ask.
        order = sorted(measured, key=lambda front: front.port != LLMUX)
        for front in order:
            stack.enter_context(running(front, directory))
            load(front, script, 2)
        rates: dict[str, list[float]] = {front.name: [] for front in measured}
        latencies: dict[str, list[float]] = {front.name: [] for front in measured}
        for _ in range(ROUNDS):
            for front in measured:
                rate, latency = load(front, script, SECONDS)
                rates[front.name].append(rate)
                latencies[front.name].append(latency)
    return report(rates, latencies)


def report(rates: dict[str, list[float]], latencies: dict[str, list[float]]) -> int:
    """Print the table; return 1 where what we promise is not kept."""
    medians = {name: statistics.median(each) for name, each in rates.items()}
    say(f"{'':20} {'requests/s':>12} {'of bare aiohttp':>16} {'p99, ms':>9}")
    for name, rate in medians.items():
        part = rate / medians["bare aiohttp"]
        say(f"{name:20} {rate:12.0f} {part:16.2f} {statistics.median(latencies[name]):9.1f}")
    of_bare, of_lite = medians["llmux"] / medians["bare aiohttp"], medians["llmux"] / medians["LiteLLM"]
    kept = of_bare >= LEAST_OF_BARE and of_lite >= LEAST_OF_LITELLM
    say(
        f"llmux: {of_bare:.2f} of bare aiohttp, {of_lite:.1f} times LiteLLM; promise (0.8, 40): {'kept' if kept else 'not kept'}"
    )
    return int(not kept)


def set_environment() -> None:
    """Set what the fronts need to find in their environment."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it asks another host for its prices else
    os.environ["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "True"  # no front asks for a key
    os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT / '.cache/pycriu'}"


if __name__ == "__main__":
    set_environment()
    sys.exit(main())
