"""Every block of the documentation is accounted for: a shell block is run or says why not, a configuration loads."""

from __future__ import annotations

import json
import subprocess  # noqa: TID251 - the pages' blocks are typed into a shell
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from blocks import ELSEWHERE, LANGUAGES, ROOT, SHELL, Block, blocks, blocks_of

from llmux.server import config
from llmux.server.config import Config

BLOCKS = blocks()
SCHEMA = json.loads((ROOT / "docs/config.schema.json").read_text("utf-8"))
NO_CONFIGURATION = {
    ("docs/control.md", '{"error"'): "an error's form: tests/unit/server/test_error_forms.py",
    ("docs/deploy.md", "services:"): "a compose file: tests/unit/docs/test_deploy.py",
    ("docs/hooks.md", '{\n  "id"'): "an event: tests/unit/server/test_hooks.py",
    ("docs/metrics.md", "# prometheus.yml"): "Prometheus's: tests/integration/server/test_prometheus.py",
    ("docs/migration.md", "models:\n  qwen:\n    cmd:"): "llama-swap's own",
    ("docs/scheduling.md", '{\n  "capacity"'): "a node: test_pages.py has `llmux simulate` read it",
}
"""A page and how a block of JSON, YAML or TOML begins, to what it is instead."""
CONFIGURATIONS = [
    block
    for block in BLOCKS
    if block.language in {"json", "toml", "yaml"}
    and not any(block.page == page and block.text.startswith(words) for page, words in NO_CONFIGURATION)
]
INSTALLATIONS = [block for block in BLOCKS if block.language == "sh" and "pip install" in block.text]


def value_of(block: Block) -> dict[str, object]:
    """Return what the block says, made whole where it shows a part: one model, or a section beside models."""
    read = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}[block.language]
    value = read(block.text)
    if "models" in value:
        return value
    model = {"model_path": "org/m", "port": 8001}
    sections = value.keys() <= Config.model_fields.keys()
    return {"models": {"chat": model}, **value} if sections else {"models": {"m": value}}


def test_each_block_names_a_language_that_says_what_becomes_of_it():
    wrong = [f"{block} {block.language!r}" for block in BLOCKS if block.language not in LANGUAGES]
    assert wrong == [], f"give each one of {sorted(LANGUAGES)}; `sh` and `console` are run by test_pages.py"


def test_each_shell_block_has_something_to_run():
    assert [str(block) for block in BLOCKS if block.language in SHELL and not block.commands] == []


def test_each_reason_to_leave_a_block_out_is_about_one_that_is_there():
    shell = [block for block in BLOCKS if block.language in SHELL]
    assert [each for each in ELSEWHERE if not any(block.begins(*each) for block in shell)] == []
    assert [
        each
        for each in NO_CONFIGURATION
        if not any(block.page == each[0] and block.text.startswith(each[1]) for block in BLOCKS)
    ] == []


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_each_configuration_loads_and_is_as_the_schema_says(block):
    value = value_of(block)
    jsonschema.validate(value, SCHEMA, jsonschema.Draft202012Validator)
    assert config.parse(json.dumps(value)).models


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_each_program_is_python(block):
    assert compile(block.text, str(block), "exec")


def test_no_command_hides_in_an_indented_block():
    hidden = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "docs").rglob("*.md")
        for number, line in enumerate(outside_of_fences(path), 1)
        if line.startswith(("    llmux ", "    curl ", "    python", "    docker ", "    $ "))
    ]
    assert hidden == []


def outside_of_fences(path: Path) -> list[str]:
    lines = path.read_text("utf-8").splitlines()
    for block in blocks_of("", "\n".join(lines)):
        for number in range(block.line, block.line + len(block.text.splitlines())):
            lines[number] = ""
    return lines


def test_a_console_block_is_what_follows_its_prompts():
    (block,) = blocks_of("page", "```console\n$ one \\\n> two\nprinted\n$ three\n```\n")
    assert block.commands == "one \\\ntwo\nthree\n"
    assert (block.line, str(block)) == (1, "page:1")


def test_a_block_in_a_list_loses_its_indent():
    (block,) = blocks_of("page", "1. do\n\n   ```sh\n   make\n     it\n   ```\n")
    assert (block.line, block.text) == (3, "make\n  it\n")


@pytest.mark.parametrize("block", INSTALLATIONS, ids=str)
@pytest.mark.parametrize("fails", ["python3", "pip"])
def test_an_installation_that_fails_ends_the_block_and_not_the_shell(block, fails, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("python3", "pip"):
        (programs / name).write_text(f"#!/bin/sh\nexit {int(name == fails)}\n")
        (programs / name).chmod(0o755)
    typed = block.text.replace("/opt/llmux", str(tmp_path)) + "echo the shell goes on\n"
    shell, environment = ["/bin/bash", "-x"], {"PATH": str(programs)}
    done = subprocess.run(shell, check=True, input=typed, env=environment, capture_output=True, text=True)
    ran = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("+ ")]
    installers = ["python3", f"{programs}/pip"]
    assert ran == [*installers[: 1 + (fails == "pip")], "echo"]
    assert done.stdout == "the shell goes on\n"


def test_there_are_such_installations():
    assert {block.page for block in INSTALLATIONS} == {"README.md", "docs/deploy.md", "docs/dumps.md"}
