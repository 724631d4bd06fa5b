"""The command line as a user meets it: real processes, their words and exit codes."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess  # noqa: TID251 - the command line is tested as a process
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path

import pytest
from ports import free_port

from llmux.server.access.keys import hash_of

SERVE = [sys.executable, "-m", "llmux.server", "serve", "--config"]


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
        [sys.executable, "-m", "llmux.server", *argv], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_version():
    assert run("--version").stdout == f"llmux, version {version('llmux')}\n"


@pytest.mark.parametrize("group", [(), ("checkpoints",), ("trace",)])
def test_what_each_command_is_for_is_said_to_its_end(group):
    told = run(*group, "--help").stdout
    assert "Commands:" in told
    assert "..." not in told.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--host", "localhost:1", "wake", "m"), "--host comes after the command: llmux wake --host ..."),
        (("--config=x",), "--config comes after the command: llmux serve --config ..."),
        (("--hots", "x"), "No such option '--hots'"),
    ],
)
def test_an_option_before_its_command_is_told_where_it_belongs(argv, said):
    done = run(*argv)
    assert done.returncode == 2
    assert said in done.stderr


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
    assert done.stderr.endswith(f"\n`llmux doctor --config {tmp_path}/config.json` says what mends it\n")


def test_where_criu_is_missing_it_is_said_how_to_look_with_this_configuration(tmp_path):
    (tmp_path / "my models").mkdir()
    checkpoint = {"criu_path": str(tmp_path / "criu"), "images_dir": str(tmp_path)}
    models = {"m": {"model_path": "x", "port": 8001}}
    path = write_config(tmp_path / "my models", models=models, checkpoint=checkpoint)
    done = run("serve", "--config", path)
    assert done.returncode == 1
    assert "m sleeps on disk, and " in done.stderr
    assert done.stderr.endswith(f"\n`llmux doctor --config '{path}'` says what mends it\n")


def test_it_serves_without_what_only_single_models_need_and_says_who_cannot_start(tmp_path):
    model = {"model_path": f"{tmp_path}/gone", "port": 8001, "engine": "command"}
    model |= {"command": ["no-such-engine", "{model_path}"], "eviction": {"process": "stop"}}
    path = write_config(tmp_path, models={"m": model}, port=free_port())
    process = subprocess.Popen([*SERVE, path], stderr=subprocess.PIPE, text=True)
    try:
        said = list(takewhile(lambda line: "serving" not in line, process.stderr))
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert [line for line in said if "no program no-such-engine on PATH: m cannot start without it" in line]
    assert [line for line in said if f"{tmp_path}/gone does not exist: m cannot start without it" in line]


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run("serve", "--config", write_config(tmp_path, port=port))
    assert done.returncode == 1
    assert (
        f"cannot listen on 127.0.0.1:{port}: Address already in use. Stop what listens there, or change `port`"
        in done.stderr
    )
    assert "no program x on PATH" not in done.stderr  # nothing has been looked for, or begun, yet
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(tmp_path, number):
    port = free_port()
    with serving(write_config(tmp_path, port=port)) as process:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
            assert json.load(answer) == {"status": "ok"}
        process.send_signal(number)
        assert process.wait(60) == 0
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


def test_told_to_stop_while_it_starts_it_listens_nowhere(tmp_path):
    script = (
        "import signal, sys\n"
        "from aiohttp import web\n"
        "real = web.AppRunner.setup\n"
        "async def told(runner):\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    await real(runner)\n"
        "web.AppRunner.setup = told\n"
        "from llmux.server._cli import cli\n"
        "cli(sys.argv[1:])\n"
    )
    argv = [sys.executable, "-c", script, *SERVE[3:], write_config(tmp_path, port=free_port())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "starts with" in done.stderr
    assert "stopped" in done.stderr
    assert "serving" not in done.stderr


def replace(path, original, **models):
    """Put another file in its place, which names these models, each as the only one of the original but for some fields."""
    (common,) = original["models"].values()
    wanted = {name: common | fields for name, fields in models.items()}
    new = Path(f"{path}.new")
    new.write_text(json.dumps(original | {"models": wanted}), "utf-8")
    new.rename(path)


def models_of(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=60) as answer:
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
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()


def get(port, path, key=None, **headers):
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    if key:
        asked.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def until(condition):
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_metrics_have_an_address_of_their_own(tmp_path):
    port, other = free_port(), free_port()
    with serving(write_config(tmp_path, port=port, metrics_port=other, listen={"metrics_host": "127.0.0.2"})):
        with urllib.request.urlopen(f"http://127.0.0.2:{other}/metrics") as answer:
            assert b"llmux_build_info{" in answer.read()
        for host, refused in (("127.0.0.1", other), ("127.0.0.2", port)):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, refused), timeout=60)


def test_keys_hold_from_the_start_and_a_reload_brings_others(tmp_path):
    port, file = free_port(), tmp_path / "key"
    one, two = "llmux-" + "1" * 40, "llmux-" + "2" * 40
    file.write_text(one)
    file.chmod(0o600)
    keys = {"k": {"file": str(file), "role": "admin"}}
    with serving(write_config(tmp_path, port=port, access={"keys": keys})) as process:
        found = [get(port, "/control/status", key) for key in (None, two, one)]
        assert found == [401, 401, 200]
        file.write_text(two)
        process.send_signal(signal.SIGHUP)
        until(lambda: get(port, "/control/status", one) == 401)
        assert get(port, "/control/status", two) == 200


def test_a_reload_whose_keys_cannot_be_read_changes_nothing(tmp_path):
    port, key = free_port(), "llmux-" + "1" * 40
    keys = {"k": {"hash": hash_of(key), "role": "admin"}}
    with serving(write_config(tmp_path, port=port, access={"keys": keys})) as process:
        write_config(tmp_path, port=port, access={"keys": {"k": {"file": "/nowhere"}}})
        process.send_signal(signal.SIGHUP)
        told = lines_until(process.stderr, "access.keys.k.file: cannot read /nowhere")
        assert "stays as it is" in told
        assert get(port, "/control/status", key) == 200


def test_a_key_that_cannot_be_read_is_named_at_start(tmp_path):
    done = run("serve", "--config", write_config(tmp_path, access={"keys": {"k": {"env": "LLMUX_NO_SUCH"}}}))
    assert done.returncode == 1
    assert "access.keys.k.env: llmux was started without a variable LLMUX_NO_SUCH" in done.stderr


def test_what_is_open_is_said_at_start_and_is_so(tmp_path):
    port, sock = free_port(), tmp_path / "run/llmux.sock"
    path = write_config(tmp_path, port=port, listen={"unix_socket": str(sock)})
    process = subprocess.Popen([*SERVE, path], stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if "serving" in line:
                break
        assert any("may use /v1" in line for line in said)
        assert any("loopback address only" in line for line in said)
        assert str(sock) in said[-1]
        assert get(port, "/control/status") == 200
        assert get(port, "/control/status", Origin="https://evil.example") == 403
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert not sock.exists()
    finally:
        process.kill()
        process.communicate()


def make_certificate(directory, name):
    """Make a certificate in its files' place, each file at once."""
    new, place = (
        (directory / "new.pem", directory / "new.key"),
        (directory / "cert.pem", directory / "key.pem"),
    )
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-noenc",
    ]
    subject = ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", str(new[0]), "-keyout", str(new[1])]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True)
    for source, target in zip(new, place, strict=True):
        source.replace(target)
    return {"certificate": str(place[0]), "key": str(place[1])}


def shown(port):
    """Return the certificate that is shown on a port, as it is in its file."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=60)


def test_it_speaks_tls_and_a_hangup_brings_the_new_certificate(tmp_path):
    port, admin = free_port(), free_port()
    tls = make_certificate(tmp_path, "one")
    with serving(write_config(tmp_path, port=port, admin_port=admin, tls=tls)) as process:
        one = (tmp_path / "cert.pem").read_text()
        assert shown(port) == shown(admin) == one
        trusting = ssl.create_default_context(cafile=tls["certificate"])
        address = f"https://127.0.0.1:{port}/health"
        with urllib.request.urlopen(address, timeout=60, context=trusting) as answer:
            assert json.load(answer) == {"status": "ok"}
        make_certificate(tmp_path, "two")
        process.send_signal(signal.SIGHUP)
        until(lambda: shown(port) == (tmp_path / "cert.pem").read_text() != one)
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
            suppress(ConnectionResetError),
        ):
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not plain.recv(1000).startswith(b"HTTP")


def test_a_certificate_that_is_none_is_named_at_start(tmp_path):
    tls = {"certificate": str(tmp_path / "config.json"), "key": str(tmp_path / "config.json")}
    config = write_config(tmp_path, tls=tls)
    done = run("serve", "--config", config)
    assert done.returncode == 1
    assert "tls.key: everybody on this machine can read" in done.stderr
    (tmp_path / "config.json").chmod(0o600)
    done = run("serve", "--config", config)
    assert done.returncode == 1
    assert "are no certificate and its key" in done.stderr
    assert "Traceback" not in done.stderr
