"""`llmux key` as a user meets it."""

from __future__ import annotations

import json

from click.testing import CliRunner

from llmux.server._cli import cli
from llmux.server.access.keys import hash_of


def run(*argv, **kwargs):
    return CliRunner().invoke(cli, ["key", *argv], **kwargs)


def test_a_key_is_made_with_its_hash_and_never_twice():
    made = [json.loads(run("--json").stdout) for _ in range(3)]
    assert all(each["hash"] == hash_of(each["key"]) for each in made)
    assert len({each["key"] for each in made}) == 3
    assert all(each["key"].startswith("llmux-") and len(each["key"]) > 40 for each in made)


def test_it_is_printed_for_people():
    lines = run().stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["key", "hash"]


def test_the_hash_of_a_key_that_there_is():
    key = "sk-" + "x" * 40
    assert run("--hash-of-stdin", input=f"{key}\n").stdout == f"hash: {hash_of(key)}\n"


def test_a_key_that_can_be_guessed_is_refused():
    done = run("--hash-of-stdin", input="hunter2\n")
    assert done.exit_code == 2
    assert "could be guessed" in done.stderr
