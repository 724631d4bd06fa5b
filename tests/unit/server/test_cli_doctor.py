"""`llmux doctor` as its user meets it."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess  # noqa: TID251 - a terminal of its own
import sys

import pytest
from click.testing import CliRunner

from llmux.server._cli_doctor import _verdict, doctor_command
from llmux.server.doctor import Finding, Verdict


def configuration(directory, **fields):
    model = {
        "model_path": "x", "port": 8001, "engine": "command", "command": ["true"], "eviction": {"process": "stop"}
    }  # fmt: skip
    places = {
        "checkpoint": {"images_dir": str(directory / "images"), "criu_path": str(directory / "criu")},
        "log_dir": str(directory / "log"),
        "state_dir": str(directory / "state"),
    }
    path = directory / "config.json"
    path.write_text(json.dumps({"models": {"m": model}} | places | fields))
    return str(path)


def doctor(*argv):
    return CliRunner().invoke(doctor_command, ["--speed-mib", "0", *argv])


def found(*argv):
    done = doctor("--json", *argv)
    return done, {each["topic"]: each for each in json.loads(done.stdout)}


def test_the_configurations_own_places_and_needs_are_looked_at(tmp_path):
    done, told = found("--config", configuration(tmp_path))
    assert str(tmp_path / "images") in told["checkpoint.images_dir"]["seen"]
    assert told["criu.version"]["verdict"] == "note"  # nothing of it sleeps to disk
    assert "can be served here" in told["configuration"]["seen"]
    assert done.exit_code == any(each["verdict"] == "lacking" for each in told.values())


def test_a_secret_that_everybody_can_read_is_named(tmp_path):
    (tmp_path / "secret").write_text("s")
    (tmp_path / "secret").chmod(0o644)
    hook = {"url": "http://x", "secret_file": str(tmp_path / "secret")}
    done, told = found("--config", configuration(tmp_path, hooks=[hook]))
    assert "hooks.0.secret_file: everybody on this machine can read" in told["configuration"]["seen"]
    assert done.exit_code == 1


def test_a_model_that_sleeps_to_disk_needs_criu(tmp_path):
    model = {"model_path": "x", "port": 8001, "engine": "tiny"}
    done, told = found("--config", configuration(tmp_path, models={"m": model}))
    assert told["criu.version"]["verdict"] == "lacking"
    assert "may be older" in told["criu.version"]["mend"]
    assert told["configuration"]["verdict"] == "note"
    assert "cannot be served here: m sleeps on disk, and " in told["configuration"]["seen"]
    assert told["engine.tiny"]["verdict"] == "fine"
    assert done.exit_code == 1


def test_an_engine_needs_its_program(tmp_path):
    engine = {"engine": "command", "command": ["no-such-engine"], "eviction": {"process": "stop"}}
    model = {"model_path": "x", "port": 8001} | engine
    done, told = found("--config", configuration(tmp_path, models={"m": model}))
    assert told["engine.command"]["verdict"] == "lacking"
    assert told["engine.command"]["seen"] == "no program no-such-engine on PATH: m cannot start without it"
    assert "Install it here" in told["engine.command"]["mend"]
    assert told["configuration"]["verdict"] == "note"
    assert "can be served here, but m cannot start" in told["configuration"]["seen"]
    assert done.exit_code == 1


def test_a_models_path_must_be_there(tmp_path):
    model = {"port": 8001, "engine": "tiny", "eviction": {"process": "stop"}}
    (tmp_path / "there").mkdir()
    models = {
        name: model | {"model_path": str(tmp_path / name), "port": port}
        for name, port in (("there", 8001), ("harbour", 8002))
    }
    done, told = found("--config", configuration(tmp_path, models=models))
    assert (told["model.there"]["verdict"], told["model.there"]["seen"]) == ("fine", f"{tmp_path}/there")
    assert told["model.harbour"]["verdict"] == "lacking"
    assert told["model.harbour"]["seen"].startswith(f"{tmp_path}/harbour does not exist: harbour cannot")
    assert told["model.harbour"]["mend"] == "Correct model_path, or mount it here"
    assert "can be served here, but harbour cannot start" in told["configuration"]["seen"]
    assert done.exit_code == 1


def test_a_port_that_somebody_else_has_is_a_note(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _, told = found("--config", configuration(tmp_path, admin_port=port, host="127.0.0.1"))
    assert told[f"port.{port}"]["verdict"] == "note"
    assert told[f"port.{port}"]["seen"].startswith("admin_port: ")
    assert f"(process {os.getpid()}) listens on {port}" in told[f"port.{port}"]["seen"]


def test_sglang_is_asked_of_the_python_that_the_configuration_names(tmp_path):
    engine = {"engine": "sglang", "eviction": {"process": "stop"}}
    model = {"model_path": "x", "port": 8001, "program": [sys.executable, "-m", "sglang.launch_server"]}
    done, told = found("--config", configuration(tmp_path, models={"m": model | engine}))
    assert told["engine.sglang"]["verdict"] == "lacking"
    assert told["engine.sglang"]["seen"].startswith(f"{sys.executable} cannot run sglang.launch_server")
    assert "(program)" in told["engine.sglang"]["mend"]
    assert done.exit_code == 1


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"prot": 1}, "prot: unknown field; did you mean 'port'?"),
        ({"resources": {"host_memory": "1MiB"}, "max_awake": 0}, "max_awake: should be"),
        (
            {
                "models": {
                    "m": {
                        "model_path": "x",
                        "port": 8001,
                        "engine": "tiny",
                        "resources": {"host_memory": "900TiB"},
                    }
                }
            },
            "models.m.resources.host_memory: ",
        ),
    ],
)
def test_what_is_wrong_with_the_configuration_is_lacking_too(tmp_path, fields, fault):
    done = doctor("--config", configuration(tmp_path, **fields))
    assert done.exit_code == 1
    assert fault in done.stdout


def test_a_configuration_that_is_no_text_is_told(tmp_path):
    (tmp_path / "c.yaml").write_text("a: [")
    done = doctor("--config", str(tmp_path / "c.yaml"))
    assert done.exit_code == 1
    assert "it is not YAML" in done.stdout
    done = doctor("--config", str(tmp_path / "none.yaml"))
    assert done.exit_code == 1
    assert "none.yaml cannot be read: No such file" in done.stdout


def test_what_is_lacking_alone_can_be_asked_for(tmp_path):
    done = doctor("--lacking", "--config", configuration(tmp_path, prot=1))
    assert "LACKING" in done.stdout
    assert "ok  " not in done.stdout


def test_the_last_line_is_what_all_comes_to(tmp_path):
    _, told = found("--config", configuration(tmp_path, prot=1))
    verdicts = [each["verdict"] for each in told.values()]
    lacking = [each for each in told.values() if each["verdict"] == "lacking"]
    for argv in ((), ("--lacking",)):
        last = doctor("--config", configuration(tmp_path, prot=1), *argv).stdout.splitlines()[-1]
        assert last.startswith(f"{len(lacking)} lacking, {verdicts.count('note')} note")
        assert f", {verdicts.count('fine')} ok; mend first: {lacking[0]['topic']} (" in last


@pytest.mark.parametrize(
    ("verdicts", "line"),
    [
        ("fine fine", "nothing is lacking, 0 notes, 2 ok"),
        ("fine note", "nothing is lacking, 1 note, 1 ok"),
        ("note lacking lacking", "2 lacking, 1 note, 0 ok; mend first: topic1 (seen)"),
    ],
)
def test_the_verdict_names_what_is_mended_first(verdicts, line):
    told = [Finding(f"topic{i}", Verdict(each), "seen") for i, each in enumerate(verdicts.split())]
    assert _verdict(told).plain == line


def test_a_pipe_gets_each_finding_on_one_line_and_a_terminal_folds_it_below_itself(tmp_path):
    directory = tmp_path / ("long name " * 20).strip()
    directory.mkdir()
    command = [sys.executable, "-m", "llmux.server", "doctor", "--no-trial", "--speed-mib", "0"]
    command += ["--config", configuration(tmp_path, log_dir=str(directory))]
    piped = subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()
    assert [line for line in piped if str(directory) in line]
    assert [line for line in piped if line != line.rstrip()] == []
    folded = on_a_terminal(command, columns=100)
    assert [line for line in folded if len(line) > 100] == []
    head, *rest = folded[next(at for at, line in enumerate(folded) if "  log_dir  " in line) :]
    column = head.index(str(tmp_path)[:10])
    assert rest[0][column:].strip() in str(directory)
    assert rest[0][:column].isspace()


def on_a_terminal(command, columns):
    """Return what a program prints on a terminal without colours."""
    ours, its = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "dumb"}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment):
        os.close(its)
        said = b""
        while piece := read(ours):
            said += piece
    os.close(ours)
    return said.decode().splitlines()


def read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # EIO: nobody has its other end any more
        return b""
