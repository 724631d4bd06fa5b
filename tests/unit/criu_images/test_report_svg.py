from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from llmux.criu_images import _words as words
from llmux.criu_images._graph import take_graph
from llmux.criu_images._records import InetSocket, UnixSocket
from llmux.criu_images._report_svg import svg_lines

from . import live
from .graphs import graph_of
from .live import dump_of

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = Path(__file__).parents[3] / "docs/vllm-dump.svg"


def svg_of(name: str) -> str:
    return "".join(f"{line}\n" for line in svg_lines(take_graph(dump_of(name))))


def test_the_picture_in_the_docs_is_the_fixture_s():
    assert PICTURE.read_text("utf-8") == svg_of("vllm")


@pytest.mark.parametrize("name", live.NAMES)
def test_every_socket_of_every_fixture_is_found_by_its_inode_and_address(name):
    tooltips = {
        group.get("id"): group.findtext(f"{SVG}title")
        for group in ET.fromstring(svg_of(name)).iter(f"{SVG}g")
    }
    for file in dump_of(name).files.values():
        if isinstance(file, UnixSocket):
            assert f"inode {file.inode}, " in tooltips[f"file-{file.id}"]
            assert words.unix_address(file) in tooltips[f"file-{file.id}"]
        if isinstance(file, InetSocket):
            address = words.inet_address(file.source, file.source_port)
            assert {f"inode {file.inode}", address} <= set(
                tooltips[f"file-{file.id}"].replace(",", "\n").split("\n")
            ) or (f"{address} to " in tooltips[f"file-{file.id}"])


@pytest.mark.parametrize("name", ["vllm", "tiny_engine"])
def test_an_id_is_given_once_and_every_link_is_a_curve(name):
    root = ET.fromstring(svg_of(name))
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    curves = [group for group in root.iter(f"{SVG}g") if group.get("class") == "link"]
    assert len(curves) == len(take_graph(dump_of(name)).links)


def test_it_is_complete_in_itself_and_has_colours_for_dark(maker):
    maker.busy()
    text = "\n".join(svg_lines(graph_of(maker)))
    assert "prefers-color-scheme:dark" in text
    assert '<rect class="page"' in text
    assert not any(word in text for word in ("<script", "href", "@import", "url(h"))


def test_markup_in_a_name_is_text(maker):
    maker.whole(maker.unix(3, b"/</text><script>&amp;\"'\0", state=10), fds={3: 3})
    root = ET.fromstring("\n".join(svg_lines(graph_of(maker))))
    assert not list(root.iter(f"{SVG}script"))
    assert "unix stream LISTEN /</text><script>&amp;\"'" in [text.text for text in root.iter(f"{SVG}text")]
