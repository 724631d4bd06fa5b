"""Whatever bytes a dump's names are, its picture is well formed, holds each name whole, and nothing of it is read as markup."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from llmux.criu_images._enums import SeccompMode, Shutdown, SocketState, SocketType, TaskState
from llmux.criu_images._graph import take_graph
from llmux.criu_images._paths import escape
from llmux.criu_images._records import Descriptor, Dump, RegularFile, Task, UnixSocket
from llmux.criu_images._report_dot import dot_lines
from llmux.criu_images._report_svg import svg_lines

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = st.sampled_from(
    [
        b"]]>",
        b"</title>",
        b"<script>",
        b"&lt;",
        b'"',
        b"'",
        b"\\",
        b"\\N",
        b"\n",
        b"\x1b[31m",
        "\u202e".encode(),
        b"\xff",
        "界".encode(),
    ]
)
NAMES = st.lists(HOSTILE | st.binary(min_size=1, max_size=8), min_size=1, max_size=30).map(b"".join)
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
WHOLE_SVG = {"svg", "title", "style", "defs", "marker", "path", "rect", "text", "g", "circle"}


def task(pid: int, ppid: int, comm: bytes, *files: int) -> Task:
    descriptors = tuple(Descriptor(number, number, 0) for number in files)
    return Task(
        pid,
        ppid,
        1,
        1,
        (pid,),
        escape(comm),
        TaskState.ALIVE,
        None,
        None,
        None,
        descriptors,
        (),
        SeccompMode.DISABLED,
    )


def dump(socket: bytes, file: bytes, comm: bytes) -> Dump:
    """Make a dump of two processes that share a file; one listens."""
    unix = UnixSocket(
        3,
        103,
        SocketType.STREAM,
        SocketState.LISTEN,
        0,
        False,
        False,
        1,
        None,
        socket,
        None,
        False,
        None,
        None,
        None,
        Shutdown.NONE,
    )
    regular = RegularFile(4, file, 0, 0, 1, 0o100644, None, False)
    tasks = (task(1, 0, comm, 3, 4), task(2, 1, comm, 4))
    return Dump(2, 1, {3: unix, 4: regular}, (), {}, (), tasks, (), ())


@given(socket=NAMES.map(lambda name: b"\0" + name), file=NAMES.map(lambda name: b"/" + name), comm=NAMES)
def test_svg_and_dot_hold_any_name_as_text(socket, file, comm):
    graph = take_graph(dump(socket, file, comm))
    names = ["@" + escape(socket[1:]), escape(file), escape(comm)]

    root = ET.fromstring("\n".join(svg_lines(graph)))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= WHOLE_SVG
    tooltips = "\n".join(title.text or "" for title in root.iter(f"{SVG}title"))
    assert all(name in tooltips for name in names)

    lines = list(dot_lines(graph))
    assert all(re.fullmatch(r"[\w \[\]{};=,>.-]*", QUOTED.sub("", line)) for line in lines)
    strings = [quoted for line in lines for quoted in QUOTED.findall(line)]
    read = [re.sub(r"\\(.)", r"\1", text).replace("&amp;", "&") for text in strings]
    assert all(any(name in text for text in read) for name in names)


@given(socket=NAMES)
def test_the_same_dump_gives_the_same_picture(socket):
    made = dump(socket, b"/a", b"c")
    assert list(svg_lines(take_graph(made))) == list(svg_lines(take_graph(made)))
