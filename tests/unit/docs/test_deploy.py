"""The pages give a container what the proof's containers have; the compose files and the systemd unit are such."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess  # noqa: TID251 - systemd and Docker judge their own files

import pytest
import yaml
from blocks import ROOT, blocks

from llmux.server import config
from llmux.server.config import Config
from proof.containers import RIGHTS

PAGE = [block for block in blocks() if block.page == "docs/deploy.md"]
UNIT = ROOT / "deploy/systemd/llmux.service"
LONGEST = Config.model_fields["shutdown_timeout"].default
"""Seconds that llmux may take to end."""
(SHOWN,) = [block.text for block in PAGE if block.language == "yaml"]
FILES = {
    "docs/deploy.md": SHOWN,
    "docker/compose.gpu.yaml": (ROOT / "docker/compose.gpu.yaml").read_text("utf-8"),
}


RUNS = [shlex.split(block.text) for block in PAGE if block.text.startswith("docker run")]


def typed() -> list[str]:
    (command,) = [words for words in RUNS if "--gpus=all" not in words]
    return command


@pytest.mark.parametrize("words", RUNS)
def test_a_container_is_given_what_the_proofs_have(words):
    assert set(RIGHTS) <= set(words)
    (stop,) = [option for option in words if option.startswith("--stop-timeout=")]
    assert int(stop.partition("=")[2]) > LONGEST


@pytest.mark.parametrize("page", ["docs/by-hand.md", "docs/dumps.md"])
def test_the_other_pages_give_the_same_rights(page):
    (block,) = [block.text for block in blocks() if block.page == page and "docker run" in block.text]
    assert set(RIGHTS) <= set(shlex.split(block[block.index("docker run") :], comments=True))


def test_a_container_with_gpus_is_given_these_besides_and_nothing_else():
    (command,) = [words for words in RUNS if "--gpus=all" in words]
    assert [word for word in command if word not in typed()] == ["--gpus=all", "llmux:vllm-gpu"]
    assert [word for word in typed() if word not in command] == ["llmux:vllm"]


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_gives_the_same(name):
    service = yaml.safe_load(FILES[name])["services"]["llmux"]
    rights = {f"--cap-add={each}" for each in service["cap_add"]}
    rights |= {f"--cap-drop={each}" for each in service["cap_drop"]}
    rights |= {f"--security-opt={each}" for each in service["security_opt"]}
    assert rights == set(RIGHTS)
    assert "privileged" not in service
    assert int(service["stop_grace_period"].removesuffix("s")) > LONGEST
    assert service["network_mode"] == "host"


def test_the_compose_file_for_gpus_has_all_of_them_and_the_image_for_them():
    service = yaml.safe_load(FILES["docker/compose.gpu.yaml"])["services"]["llmux"]
    assert service["image"] in next(words for words in RUNS if "--gpus=all" in words)
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_the_compose_file_for_gpus_mounts_what_its_configuration_names():
    stated = config.load(ROOT / "docker/config.json")
    volumes = yaml.safe_load(FILES["docker/compose.gpu.yaml"])["services"]["llmux"]["volumes"]
    sources, places = zip(
        *(re.fullmatch(r"\$\{\w+:-(.+?)\}:(/[^:]+)(?::ro)?", each).groups() for each in volumes), strict=True
    )
    assert sources[0] == "./config.json"
    assert places == ("/etc/llmux/config.json", str(stated.checkpoint.images_dir), "/root/.cache/huggingface")


def test_the_pages_compose_file_mounts_what_its_command_does():
    volumes = [option.partition("=")[2] for option in typed() if option.startswith("--volume=")]
    assert yaml.safe_load(SHOWN)["services"]["llmux"]["volumes"] == volumes


@pytest.mark.parametrize("name", FILES)
def test_docker_compose_reads_it(name, tmp_path):
    if not composes():
        return  # Docker's plugin is not everywhere; the test above has read it
    file = tmp_path / "compose.yaml"
    file.write_text(FILES[name])
    command = ["docker", "compose", "--file", str(file), "config", "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def composes() -> bool:
    command = ["docker", "compose", "version"]
    return (
        bool(shutil.which("docker"))
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


def test_the_unit_says_what_the_page_says():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(UNIT.read_text("utf-8"))
    service = unit["Service"]
    assert service["KillMode"] == "process"
    assert int(service["TimeoutStopSec"]) > LONGEST
    program, *arguments = shlex.split(service["ExecStart"])
    assert (program, arguments) == ("/opt/llmux/bin/llmux", ["serve"])
    assert [f"/var/lib/{service['StateDirectory']}", f"/var/log/{service['LogsDirectory']}"] == [
        str(Config.model_fields["state_dir"].default.parent),
        str(Config.model_fields["log_dir"].default),
    ]


def test_systemd_takes_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        return  # containers have none; the test above has read it
    unit = tmp_path / "llmux.service"
    # The program of the unit is not installed here.
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/llmux/bin/llmux", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "llmux" in line]) == (0, [])
    unit.write_text(unit.read_text().replace("KillMode=process", "KilMode=process"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True
    )
    assert "KilMode" in done.stderr
