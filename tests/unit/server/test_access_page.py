"""What docs/access.md shows is so."""

from __future__ import annotations

import re
from pathlib import Path

from llmux.server import config
from llmux.server._secrets import Secrets
from llmux.server.access.errors import (
    LimitReached,
    ModelNotAllowed,
    NotAllowed,
    NotAuthenticated,
    RequestTooSlow,
)
from llmux.server.access.roles import Right, Role, rights

PAGE = (Path(__file__).resolve().parents[3] / "docs/access.md").read_text("utf-8")


def test_the_example_loads():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    loaded = config.parse(example)
    assert len(Secrets({}).read(loaded.access).ring.keys) == 3


def test_the_table_of_roles_is_what_they_may():
    columns = (Right.USE, Right.OBSERVE, Right.CONTROL, Right.ADMIN)
    for role in Role:
        (row,) = re.findall(rf"^\| `{role}` \|(.*)\|$", PAGE, re.MULTILINE)
        said = [cell.strip() == "yes" for cell in row.split("|")]
        assert said == [right in rights(role) for right in columns]


def test_each_code_is_there():
    for error in (NotAuthenticated, NotAllowed, ModelNotAllowed, RequestTooSlow, LimitReached):
        assert f"| `{error.code}` |" in PAGE
