"""However a dump is damaged, it is read and shown, or refused with an error of ours."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmux.criu_images._dump import read_dump
from llmux.criu_images._graph import take_graph
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report import render
from llmux.criu_images._report_dot import dot_lines
from llmux.criu_images._report_svg import svg_lines
from llmux.criu_images.errors import CriuImagesError

from .conftest import DumpMaker
from .shown import render_json

CHANGES = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    maker = DumpMaker(tmp_path_factory.mktemp("dump"))
    maker.busy()
    return {path: path.read_bytes() for path in sorted(maker.directory.iterdir())}


@settings(deadline=None)
@given(number=st.integers(0, 1000), changes=CHANGES)
def test_changed_bytes(whole, number, changes):
    path, data = sorted(whole.items())[number % len(whole)]
    damaged = bytearray(data)
    for position, byte in changes:
        damaged[position % len(data)] = byte
    try:
        path.write_bytes(damaged)
        with suppress(CriuImagesError):
            dump = read_dump(path.parent)
            inventory = take_inventory(dump)
            for write in (render, render_json):
                assert write(dump, inventory)
            for draw in (dot_lines, svg_lines):
                assert list(draw(take_graph(dump)))
    finally:
        path.write_bytes(data)
