"""Which failures of `make test` are given a second try, and what becomes of them."""

from __future__ import annotations

import subprocess  # noqa: TID251 - no part of llmux

import pytest
from side_by_side import FEW, TESTS_FAILED, Part

UNSTEADY = """
from pathlib import Path

def test_unsteady(tmp_path):
    once = Path(__file__).with_suffix(".once")
    assert once.exists() or once.touch()

def test_steady():
    assert not Path(__file__).with_suffix(".steady").exists()
    Path(__file__).with_suffix(".steady").touch()
"""
BROKEN = "def test_broken(): assert False"
MANY = "\n".join(f"def test_{number}(): assert False" for number in range(FEW + 1))


@pytest.fixture
def make_part(tmp_path):
    """Give a function that makes a part of the tests in this text."""

    def made(text):
        tests = tmp_path / "test_some.py"
        tests.write_text(text)
        return Part((str(tests), "-c", "/dev/null", f"--rootdir={tmp_path}", "-q"), tmp_path / "cache")

    return made


def run(part):
    return subprocess.run(part.command("--cache-clear"), capture_output=True, check=False).returncode


def test_what_passes_by_itself_is_unsteady_and_nothing_else_runs_again(make_part):
    part = make_part(UNSTEADY)
    assert part.unsteady(run(part)) == {"test_some.py::test_unsteady"}


@pytest.mark.parametrize("text", [BROKEN, MANY], ids=["broken", "too many"])
def test_what_fails_again_or_with_many_others_fails(make_part, text):
    part = make_part(text)
    assert run(part) == TESTS_FAILED
    assert part.unsteady(TESTS_FAILED) is None


@pytest.mark.parametrize("code", [2, 3, 5, 10])
def test_what_is_no_failure_of_a_test_is_not_tried_again(make_part, code):
    assert make_part(MANY).unsteady(code) is None


def test_where_all_pass_nothing_is_unsteady(make_part):
    assert make_part(BROKEN).unsteady(0) == frozenset()
