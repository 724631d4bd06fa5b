"""docs/by-hand.md from top to bottom, as it stands but for its directory, its ports and its containers' names."""

from __future__ import annotations

import json
import re
import subprocess  # noqa: TID251 - the page's commands are run as its readers do
from collections.abc import Iterator
from pathlib import Path

import pytest
from blocks import ROOT, blocks
from ports import free_port

from proof.containers import PREFIX, check_image

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

PAGE = "docs/by-hand.md"
SET_UP = 2
"""Lines of the page that every test here has come by: a Docker engine, the image, the model."""
NAMES = (f"{PREFIX}by-hand-a", f"{PREFIX}by-hand-b")


def commands(directory: Path) -> str:
    text = "".join(block.text for block in blocks() if block.page == PAGE)
    set_up, rest = text.splitlines(keepends=True)[:SET_UP], "".join(text.splitlines(keepends=True)[SET_UP:])
    assert all("docker/setup.py" in line for line in set_up)
    places = {"/tmp/try": str(directory / "try"), "3000": str(free_port()), "8001": str(free_port())}
    for shown, ours in {**places, "llmux-a": NAMES[0], "llmux-b": NAMES[1]}.items():
        rest = re.sub(rf"(?<![\w/]){re.escape(shown)}\b", ours, rest)
    return rest


@pytest.fixture
def no_container_stays(nothing_left_behind: None) -> Iterator[None]:
    yield
    subprocess.run(["docker", "rm", "--force", *NAMES], check=False, capture_output=True)


@pytest.mark.usefixtures("no_container_stays")
def test_the_model_that_slept_in_one_container_says_the_same_in_the_other(tmp_path):
    check_image("llmux:tiny")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    first, second = [each["choices"][0]["message"]["content"] for each in told if "choices" in each]
    assert first == second != ""
    assert '"kind":"restored"' in done.stdout
    assert not (tmp_path / "try").exists()
