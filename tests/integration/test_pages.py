"""The README's and docs/'s shell blocks, run as they stand there, each page's in their order in one shell.

A page has network, mount and PID namespaces of its own, so that its ports and directories are nobody else's and nothing outlives it. llmux serves `chat` there on
port 3000, as the pages have it, unless the page starts an llmux itself: `llmux serve` goes on until the page's end, as in a reader's first terminal.
A page's Python for clients runs too, as a program of its own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess  # noqa: TID251 - the pages' commands are run as their readers do
import sys
from pathlib import Path

import pytest
from blocks import ROOT, SHELL, Block, blocks

from llmux.server.scheduling.measured import Measured

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

CLIENTS = "docs/apis.md"
WELL = "(00.000029) Version: 4.2.1 (gitid 0)\n(00.300000) Restore finished successfully. Tasks resumed.\n"
ACCESS_LOG = '{"time": "2026-01-01T00:00:00Z", "model": "llama", "duration": 2}\n'
MAY_LACK = {"llmux doctor": "CRIU is in the containers only, so something is lacking here (exit code 1)"}
CONFIGURATION = """\
models:
  chat: {{engine: tiny, model_path: {model}, port: 8001}}
policy: {{eviction: {{weights: discard, process: keep_running}}}}
listen: {{unix_socket: /run/llmux/llmux.sock}}
engines_at_exit: stop
"""
WORLD = """\
set -euo pipefail
ip link set lo up
for place in /run /var/lib /var/log /dev/shm; do mount -t tmpfs page "$place"; done
mkdir -p /run/llmux
"""
HEALTHY = "curl -sf --retry 60 --retry-delay 1 --retry-connrefused localhost:3000/health || { cat *.log; exit 1; }\n"
ENDED = """\
set -euo pipefail
trap 'kill %1; wait %1' EXIT
"""
"""Ends llmux as its user would: engines that are killed leave their sockets."""
SERVED = 'llmux serve --config "$HOME/llmux.yaml" 2> "$HOME/llmux.log" &\n' + HEALTHY


def shown() -> dict[str, list[Block]]:
    """Return the blocks to run by their pages."""
    found: dict[str, list[Block]] = {}
    for block in blocks():
        runs = block.language in SHELL and not block.elsewhere
        if runs or (block.page == CLIENTS and block.language == "python"):
            found.setdefault(block.page, []).append(block)
    return found


def steps(block: Block) -> str:
    """Return what is run of a block: a server in the background, Python by Python, all else as it is."""
    if block.language == "python":
        return f"python - <<'PROGRAM'\n{block.text}PROGRAM\n"
    lines = []
    for line in block.commands.splitlines(keepends=True):
        if line.startswith("llmux serve "):
            lines += [f"{line.rstrip()} 2> serve.log &\n", HEALTHY]
        elif any(line.startswith(each) for each in MAY_LACK):
            lines.append(f"{line.rstrip()} || test $? -eq 1\n")
        else:
            lines.append(line)
    return "".join(lines)


def script(page: list[Block]) -> str:
    """Return the program for a page; a failure's output ends with the block that failed."""
    told = [f"echo {shlex.quote(f'==> {block}')}\n{steps(block)}" for block in page]
    serves = any("llmux serve " in block.commands for block in page)
    return "".join([ENDED, "" if serves else SERVED, *told])


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("pages") / "model"
    train = [sys.executable, "-m", "llmux.tiny_engine", "train", str(directory), "--epochs", "1"]
    subprocess.run(train, check=True, capture_output=True)
    return directory


@pytest.fixture
def home(tmp_path, model) -> Path:
    """Make a directory with what the pages' commands name: a checkout's environment, logs, what the simulator reads."""
    (tmp_path / "llmux.yaml").write_text(CONFIGURATION.format(model=model))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "LOGFILE").write_text(WELL)
    (tmp_path / "access.log").write_text(ACCESS_LOG)
    measured = Measured().seen("llama", "wake:memory", 4.0)
    (tmp_path / "measured.json").write_text(json.dumps(measured.as_data()))
    (node,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/scheduling.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "node.json").write_text(node)
    return tmp_path


@pytest.mark.parametrize("page", shown())
def test_the_commands_of_a_page_work(page, home):
    name = home / "page.sh"
    name.write_text(script(shown()[page]))
    environment = {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    # It is ended here and not by subprocess, which would drop what has been said till then.
    apart = shlex.split(
        "timeout --kill-after=5 540 unshare --net --mount --pid --fork --kill-child --mount-proc"
    )
    world = ["bash", "-c", WORLD + 'exec bash "$0"', str(name)]
    done = subprocess.run(
        [*apart, *world],
        check=False,
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
