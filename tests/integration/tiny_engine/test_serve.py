"""Start and end of an engine, and what lies between its processes."""

import os
import signal
import subprocess  # noqa: TID251 - the engine is started as its users start it
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import eventually


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _mapped(pid: int) -> list[str]:
    return [line.split(maxsplit=5)[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]


def _open(pid: int) -> dict[str, str]:
    """Map each of a process's descriptors to what it is; one that is closed meanwhile is left out."""
    found = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found[descriptor.name] = str(descriptor.readlink())
    return found


def _sockets(pid: int) -> set[str]:
    opened = set(_open(pid).values())
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    return {row[7] for row in lines if len(row) > 7 and f"socket:[{row[6]}]" in opened}


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llmux.tiny_engine", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _traces(engine) -> tuple[list[int], list[Path]]:
    """Name an engine's processes, and the files outside its own directories that it must not leave behind."""
    instance = engine.get("/instance").json
    children = Path(f"/proc/{instance['pid']}/task/{instance['pid']}/children").read_text().split()
    shared = [Path(path) for path in _mapped(instance["worker_pid"]) if path.startswith("/dev/shm/")]
    sockets = [Path(path) for path in _sockets(instance["pid"]) | _sockets(instance["worker_pid"])]
    return [instance["pid"], *map(int, children)], [*shared, *sockets]


def test_what_lies_between_the_processes(engine):
    instance = engine.get("/instance").json
    api, worker = instance["pid"], instance["worker_pid"]
    sockets = _sockets(api) | _sockets(worker)
    assert len(sockets) == 3
    assert all(Path(path).is_socket() and path.startswith(f"{tempfile.gettempdir()}/") for path in sockets)
    ring = next(Path(path) for path in _mapped(worker) if path.startswith("/dev/shm/psm_"))
    assert str(ring) in _mapped(api)
    assert ring.stat().st_size == 64 << 20
    assert ring.stat().st_blocks * 512 < 1 << 20
    assert any(path.startswith("/dev/shm/sem.mp-") for path in _mapped(worker))
    assert any(path.startswith("/dev/shm/sem.") and path.endswith("(deleted)") for path in _mapped(api))
    assert any(path.startswith(str(engine.cache)) and path.endswith("step.pyc") for path in _mapped(worker))
    for pid in (api, worker):
        log = next(number for number, path in _open(pid).items() if path == str(engine.log))
        flags = Path(f"/proc/{pid}/fdinfo/{log}").read_text()
        assert int(flags.split()[3], 8) & os.O_APPEND


def test_idle_costs_no_cpu(engine):
    instance = engine.get("/instance").json
    time.sleep(0.2)
    before = _cpu_ticks(instance["pid"]) + _cpu_ticks(instance["worker_pid"])
    time.sleep(1)
    assert _cpu_ticks(instance["pid"]) + _cpu_ticks(instance["worker_pid"]) - before <= 1


def test_sigterm_ends_it_cleanly_even_with_a_request_running(start):
    with start("--token-delay", "0.2") as engine:
        processes, files = _traces(engine)
        assert len(files) == 5
        body = {"prompt": "x", "stream": True, "max_tokens": 500, "ignore_eos": True}
        with engine.open("POST", "/v1/completions", body) as response:
            response.readline()
            engine.process.send_signal(signal.SIGTERM)
            assert engine.process.wait(60) == 0
        eventually(lambda: not any(map(_alive, processes)), "all processes have ended")
        assert [file for file in files if file.exists()] == []
        said = engine.output.read_text()
        assert sorted(said.splitlines()) == sorted(engine.log.read_text().splitlines())
        assert "ERROR" not in said


def test_nothing_is_left_when_the_api_process_is_killed(start):
    with start() as engine:
        processes, files = _traces(engine)
        engine.process.kill()
        eventually(lambda: not any(map(_alive, processes)), "all processes have ended")
        eventually(lambda: not any(file.exists() for file in files), "all files are gone")


def test_the_workers_death_shows_in_health_and_ends_the_engine(start):
    with start() as engine:
        processes, files = _traces(engine)
        os.kill(engine.get("/instance").json["worker_pid"], signal.SIGKILL)
        eventually(lambda: engine.get("/health").status == 503, "/health says so", 0.9)
        assert engine.chat().status == 503
        assert engine.process.wait(60) == 1
        eventually(lambda: not any(map(_alive, processes)), "all processes have ended")
        assert [file for file in files if file.exists()] == []


def test_a_stream_says_that_the_worker_died(start):
    with start("--token-delay", "0.05") as engine:
        worker = engine.get("/instance").json["worker_pid"]
        body = {"prompt": "x", "stream": True, "max_tokens": 500, "ignore_eos": True}
        with engine.open("POST", "/v1/completions", body) as response:
            response.readline()
            os.kill(worker, signal.SIGKILL)
            rest = response.read().decode()
        assert "EngineDeadError" in rest
        assert rest.endswith("data: [DONE]\n\n")


def test_a_taken_port_is_named(engine, models):
    done = _run("serve", str(models[0]), "--port", str(engine.port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{engine.port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", b'{"model_type": "qwen3"}', "'qwen3'"),
        ("tokenizer.json", b"{", "is not a tokenizer"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}", "asks for"),
    ],
)
def test_a_damaged_model_is_refused_with_its_file(models, tmp_path, file, content, says):
    for path in models[0].iterdir():
        (tmp_path / path.name).write_bytes(content if path.name == file else path.read_bytes())
    done = _run(
        "serve", str(tmp_path), "--port", "1", "--log-file", str(tmp_path / "log"), "--host", "127.0.0.1"
    )
    assert done.returncode == 1
    assert str(tmp_path / file) in done.stderr
    assert says in done.stderr


def test_an_unknown_option_is_wrong_use(models):
    done = _run("serve", str(models[0]), "--enable-magic")
    assert done.returncode == 2
    assert "--enable-magic" in done.stderr
