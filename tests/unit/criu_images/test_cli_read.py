from __future__ import annotations

import os
import sys
from xml.etree import ElementTree as ET

import pytest

from llmux.criu_images._cli import main


@pytest.fixture
def graph(monkeypatch, capfd, maker):
    maker.busy()

    def command(*arguments):
        monkeypatch.setattr(
            sys, "argv", ["llmux.criu_images", "graph", *map(os.fspath, (maker.directory, *arguments))]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code), out, err

    return command


def test_dot_on_standard_output_is_what_comes_without_options(graph):
    code, out, err = graph()
    assert (code, err) == (0, "")
    assert out.startswith("digraph dump {\n")
    assert out.endswith("}\n")


def test_a_file_s_name_says_its_format_unless_an_option_does(graph, tmp_path):
    picture, other = tmp_path / "a.SVG", tmp_path / "b.svg"
    assert graph("--output", picture) == (0, "", "")
    assert ET.fromstring(picture.read_text("utf-8")).tag.endswith("svg")
    assert graph("--format", "dot", "--output", other)[0] == 0
    assert other.read_text("utf-8").startswith("digraph")
    assert graph("--format", "svg")[1] == picture.read_text("utf-8")


def test_one_part(graph):
    out = graph("--only", "pipes,files")[1]
    assert "fifo /fifo" in out
    assert "unix" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--only", "sockets,x"), "the parts are sockets, pipes, files"),
        (("--format", "png"), "is not one of"),
        (("--output", "/nowhere/a.svg"), "No such file"),
    ],
)
def test_wrong_use_is_2(graph, arguments, says):
    code, out, err = graph(*arguments)
    assert (code, out) == (2, "")
    assert says in err
