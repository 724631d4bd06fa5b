"""The Unix socket knows who connects: real users, as the kernel tells of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - llmux and its clients are processes
import sys
import tempfile
import time
from pathlib import Path

import pytest
from ports import free_port

pytestmark = pytest.mark.root

NOBODY, SOMEBODY = 65534, 54321
ASK = """
import http.client, socket, sys
connection = http.client.HTTPConnection("llmux")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request("GET", sys.argv[2])
print(connection.getresponse().status)
"""


@pytest.fixture
def llmux():
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # others are to reach the socket in it
        model = {
            "model_path": "x",
            "port": free_port(),
            "engine": "command",
            "command": ["x"],
            "eviction": {"process": "stop"},
        }
        settings = {
            "models": {"m": model},
            "host": "127.0.0.1",
            "port": free_port(),
            "checkpoint": {"images_dir": name},
            "state_dir": f"{name}/state",
            "log_dir": f"{name}/log",
            "listen": {"unix_socket": f"{name}/llmux.sock"},
            "access": {"admin_uids": [SOMEBODY]},
        }
        (directory / "config.json").write_text(json.dumps(settings))
        process = subprocess.Popen(
            [sys.executable, "-m", "llmux.server", "serve", "--config", f"{name}/config.json"]
        )
        try:
            ends = time.monotonic() + 20
            while not (directory / "llmux.sock").exists():
                assert time.monotonic() < ends
                time.sleep(0.05)
            yield directory / "llmux.sock"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def asked(sock, path, uid):
    """Return the status that a user's request is answered with; the interpreter is the system's, which everybody may run."""
    command = ["/usr/bin/python3", "-c", ASK, str(sock), path]
    done = subprocess.run(command, user=uid, group=uid, capture_output=True, text=True, check=True, cwd="/")
    return int(done.stdout)


def test_root_and_who_is_configured_may_do_everything_and_others_use_the_models(llmux):
    found = {
        uid: (asked(llmux, "/v1/models", uid), asked(llmux, "/control/status", uid))
        for uid in (os.getuid(), SOMEBODY, NOBODY)
    }
    assert found == {os.getuid(): (200, 200), SOMEBODY: (200, 200), NOBODY: (200, 403)}
