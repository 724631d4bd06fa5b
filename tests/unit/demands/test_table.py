"""The coverage table is what the rows and the marked tests say now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from demands import DEMANDS, SECTIONS
from demands.table import COMMAND
from proof._commands import Finished, attempt

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.timeout(330)


def collect(*arguments: str) -> Finished:
    return attempt(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--rootdir", str(ROOT), *arguments],
        timeout=300,
    )


def test_ids_are_unique():
    assert len(DEMANDS) == sum(len(section.rows) for section in SECTIONS)


def test_a_mark_without_a_row_fails_the_collection(tmp_path):
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    marked = tmp_path / "test_marked.py"
    marked.write_text("import pytest\n\n@pytest.mark.demand('no-such-row')\ndef test_it(): pass\n")
    done = collect("--config-file", str(ROOT / "pyproject.toml"), str(marked))
    assert done.code == pytest.ExitCode.USAGE_ERROR
    assert "no demand 'no-such-row' in tests/demands/" in done.errors


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the table that the tests give now."""
    path = tmp_path_factory.mktemp("coverage") / "coverage.md"
    done = collect(f"--coverage-table={path}", str(ROOT / "tests"))
    assert done.code == 0, done.output
    return path.read_text()


def test_every_row_is_proved_by_a_test(made):
    rows = [line for line in made.splitlines() if line.startswith("| **")]
    assert len(rows) == len(DEMANDS)
    assert [row.partition(":")[0] for row in rows if row.endswith("| - |")] == []


def test_the_coverage_table_is_up_to_date(made):
    committed = (ROOT / "docs/coverage.md").read_text()
    assert made == committed, f"docs/coverage.md is behind the rows or the tests: run `{COMMAND}`"
