"""docs/errors.md has every error that llmux raises, by its code and by what its message always says."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmux.server
from llmux.criu_images import errors as library
from llmux.server.errors import ServerError

PAGE = (Path(__file__).resolve().parents[3] / "docs/errors.md").read_text("utf-8")
PLAIN = PAGE.replace("\\`", "`")
SOURCES = sorted(Path(llmux.server.__file__).parent.rglob("*.py"))
SHORTEST = 4
"""Letters that a piece of a message needs to be looked for."""

for _module in pkgutil.walk_packages(llmux.server.__path__, "llmux.server."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)


def below(root: type) -> Iterator[type]:
    for each in root.__subclasses__():
        if each.__module__.startswith("llmux."):
            yield each
            yield from below(each)


def pieces(error: type) -> list[str]:
    """Return what the message of an error says in any case."""
    if "what" not in vars(error):
        return []
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(error.what))).body
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    return [piece for value in returned for piece in fixed(value)]


def fixed(value: ast.expr | None) -> Iterator[str]:
    match value:
        case ast.BinOp():
            yield from fixed(value.left)
        case ast.JoinedStr():
            yield from (
                part.value.strip(" '`(),:\n")
                for part in value.values
                if isinstance(part, ast.Constant) and len(part.value.strip(" '`(),:\n")) >= SHORTEST
            )
        case ast.Constant(value=str() as text):
            yield text.strip()


def rows_of(name: str) -> str:
    return "\n".join(line for line in PLAIN.splitlines() if re.match(rf"\| [^|]*`{name}`", line))


@pytest.mark.parametrize("error", [*below(ServerError)], ids=lambda error: error.__name__)
def test_each_error_of_the_server_is_there(error):
    if error.__name__ == "EffectError":
        return  # a root
    assert rows_of(error.code), f"give `{error.code}` a row"
    assert [piece for piece in pieces(error) if piece not in rows_of(error.code)] == []


@pytest.mark.parametrize("name", library.__all__)
def test_each_error_of_the_library_is_there(name):
    if name == "ExitCode":
        return
    assert rows_of(name), f"give `{name}` a row"
    assert [piece for piece in pieces(getattr(library, name)) if piece not in rows_of(name)] == []


def problems() -> Iterator[str]:
    """Give the codes of problems that are no exceptions."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Problem"), args=[ast.Constant(value=str() as code), *_]):
                    yield code


def test_each_problem_is_there():
    found = set(problems())
    assert "no_room" in found
    assert [code for code in found if not rows_of(code)] == []


def test_it_says_of_nothing_that_there_is_not():
    there = {each.code for each in below(ServerError)} | set(problems()) | set(library.__all__)
    there |= {
        "request_entity_too_large",
        "request_header_fields_too_large",
        "method_not_allowed",
    }  # HTTP's own
    named = re.findall(r"^\| (`[^|]*`) \|", PAGE, re.MULTILINE)
    assert {code for row in named for code in re.findall(r"`(\w+)`", row)} - there == set()
