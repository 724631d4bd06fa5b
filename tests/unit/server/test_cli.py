"""The command line as a user meets it: real processes, their words and exit codes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess  # noqa: TID251 - the command line is tested as a process
import sys
import urllib.request
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

SERVE = [sys.executable, "-m", "llmux.server", "serve", "--config"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def write_config(directory, **fields):
    """Write a configuration that needs neither root nor CRIU until an engine is started."""
    model = {
        "model_path": "x",
        "port": 8001,
        "engine": "command",
        "command": ["x"],
        "eviction": {"process": "stop"},
    }
    value = {
        "models": {"m": model},
        "host": "127.0.0.1",
        "checkpoint": {"images_dir": str(directory)},
        "state_dir": str(directory / "state"),
    } | fields
    path = directory / "config.json"
    path.write_text(json.dumps(value))
    return str(path)


@contextmanager
def serving(path):
    process = subprocess.Popen([*SERVE, path], stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if "serving" in line:
                break
        yield process
    finally:
        process.kill()
        process.communicate()


def run(*argv):
    return subprocess.run(
        [sys.executable, "-m", "llmux.server", *argv], capture_output=True, text=True, timeout=30, check=False
    )


def test_the_version():
    assert run("--version").stdout == f"llmux, version {version('llmux')}\n"


def test_a_missing_configuration_is_named():
    done = run("serve", "--config", "/nowhere/config.json")
    assert done.returncode == 2
    assert (
        "llmux: cannot read the configuration /nowhere/config.json: No such file or directory" in done.stderr
    )


def test_every_fault_of_a_configuration_is_named(tmp_path):
    done = run("serve", "--config", write_config(tmp_path, prot=1, max_awake=0))
    assert done.returncode == 2
    assert "prot: unknown field; did you mean 'port'?" in done.stderr
    assert "max_awake: should be" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_this_machine_cannot_do_is_refused_at_start(tmp_path):
    model = {"model_path": "x", "port": 8001, "eviction": {"process": "cuda_suspend"}}
    done = run("serve", "--config", write_config(tmp_path, models={"m": model}))
    assert done.returncode == 1
    assert "models.m.eviction: 'cuda_suspend'" in done.stderr


def test_what_this_machine_cannot_hold_is_refused_at_start_all_together(tmp_path):
    models = {
        "a": {"model_path": "x", "port": 8001, "resources": {"host_memory": "900TiB"}},
        "b": {"model_path": "x", "port": 8002, "resources": {"disk": "9PiB"}},
    }
    done = run("serve", "--config", write_config(tmp_path, models=models))
    assert done.returncode == 1
    assert "cannot serve the configuration:" in done.stderr
    assert "\n  models.a.resources.host_memory: awake it takes 900 TiB of host memory" in done.stderr
    assert "\n  models.b.resources.disk: asleep it takes" in done.stderr


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run("serve", "--config", write_config(tmp_path, port=port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(tmp_path, number):
    port = free_port()
    with serving(write_config(tmp_path, port=port)) as process:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            assert json.load(answer) == {"status": "ok"}
        process.send_signal(number)
        assert process.wait(5) == 0
        assert "stopped" in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_while_it_still_imports_it_ends(number):
    script = (
        "import builtins, signal\n"
        "real = builtins.__import__\n"
        "def told(name, *rest):\n"
        f"    if name == 'llmux.server._cli': signal.raise_signal({int(number)})\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = told\n"
        "import llmux.server.__main__\n"
        "raise SystemExit('not ended')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def replace(path, original, **models):
    """Put another file in its place, which names these models, each as the only one of the original but for some fields."""
    (common,) = original["models"].values()
    wanted = {name: common | fields for name, fields in models.items()}
    new = Path(f"{path}.new")
    new.write_text(json.dumps(original | {"models": wanted}), "utf-8")
    new.rename(path)


def models_of(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as answer:
        return [card["id"] for card in json.load(answer)["data"]]


def lines_until(stream, words):
    """Return what is logged up to the line with these words: a reload tells in the log what has come of it."""
    lines = []
    for line in stream:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"{words!r} was never logged:\n{''.join(lines)}")


@pytest.mark.parametrize("way", ["hangup", "watch"])
def test_another_file_takes_effect_and_a_wrong_one_changes_nothing_and_is_told_of(tmp_path, way):
    port = free_port()
    path = write_config(tmp_path, port=port, watch=way == "watch")
    original = json.loads(Path(path).read_text("utf-8"))
    with serving(path) as process:

        def reload(words, **models):
            replace(path, original, **models)
            if way == "hangup":
                process.send_signal(signal.SIGHUP)
            return lines_until(process.stderr, words)

        reload("was read anew", m={}, new={"port": 8002})
        assert models_of(port) == ["m", "new"]
        reload("m: is configured no longer", new={"port": 8002})
        assert models_of(port) == ["new"]
        told = reload("models.two.port", new={"prot": 1}, two={"port": "x"})
        assert "the configuration stays as it is" in told
        assert "models.new.prot: unknown field" in told
        assert models_of(port) == ["new"]
        reload("was read anew", two={"port": 8003})
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert "Traceback" not in process.stderr.read()
