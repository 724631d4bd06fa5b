"""`--json-schema` of every command that writes JSON."""

from __future__ import annotations

import json
from importlib.resources import files

import click
import pytest
from click.testing import CliRunner

from llmux.criu_images._cli import cli

from .published import DOCUMENTS, schema


def commands(option):
    context = click.Context(cli)
    return [
        name
        for name in cli.list_commands(context)
        if any(option in each.opts for each in cli.get_command(context, name).params)
    ]


def printed(*arguments):
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_every_command_that_writes_json_has_its_schema():
    assert commands("--json") == commands("--json-schema") == [
        "show", "stats", "diff", "explain", "capture", "plan", "rebuild", "undo", "finish", "verify"
    ]  # fmt: skip


@pytest.mark.parametrize("command", commands("--json-schema"))
def test_it_needs_no_dump_and_names_the_command(command):
    assert f"{command} --json" in printed(command, "--json-schema")["title"]


@pytest.mark.parametrize(
    ("question", "document"),
    [(["--why", "/x"], "show-why"), (["--tree"], "show-tree"), (["--missing"], "show-missing")],
)
def test_a_question_of_show_has_its_own_whatever_the_order(question, document):
    for arguments in (["--json-schema", *question], [*question, "--json-schema"]):
        assert printed("show", *arguments) == schema(document)


def test_each_published_schema_can_be_printed():
    titles = {printed(command, "--json-schema")["title"] for command in commands("--json-schema")}
    asked = {printed("show", "--json-schema", each)["title"] for each in ("--why=x", "--tree", "--missing")}
    assert titles | asked == {schema(document)["title"] for document in DOCUMENTS}


def test_they_are_in_the_package():
    assert {f"{name}.json" for name in (*DOCUMENTS, "common")} == {
        path.name for path in files("llmux.criu_images").joinpath("schemas").iterdir()
    }


def test_an_unknown_command_line_is_still_refused():
    assert CliRunner().invoke(cli, ["show", "--json-schema", "--none"]).exit_code == 2
