"""The limit of open files: llmux's own is raised, and its children have what it was given."""

from __future__ import annotations

import asyncio
import resource
import sys

import pytest

from llmux.server import _open_files
from llmux.server._process import Conversation, run

GIVEN = 700


@pytest.fixture(autouse=True)
def given(monkeypatch):
    """Have a low soft limit, and give the limits back as they were."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(_open_files, "_given", None)
    resource.setrlimit(resource.RLIMIT_NOFILE, (GIVEN, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def limit_of_a_child():
    """Return the soft limit of a grandchild that is started by order, as engines are by their sandbox's init."""
    told = asyncio.get_running_loop().create_future()
    script = 'read order; sh -c "ulimit -Sn"; read order'
    child = await Conversation.start(["sh", "-c", script], on_line=told.set_result)
    child.tell(b"start it")
    try:
        return int(await told)
    finally:
        await child.end(5)


async def test_llmux_may_have_as_many_open_as_it_is_allowed_to_and_its_children_as_many_as_it_was_given(
    given,
):
    await asyncio.to_thread(_open_files.raise_limit)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (given, given)
    assert await limit_of_a_child() == GIVEN


async def test_no_more_than_the_machine_allows_at_all(given, tmp_path):
    """Where fs.nr_open was lowered after the hard limit was set, the kernel takes that limit from nobody, from a child neither."""
    most = given - 1
    (tmp_path / "nr_open").write_text(f"{most}\n")
    script = """
import resource
from pathlib import Path
from llmux.server import _open_files
_open_files._MOST = Path(__import__("sys").argv[1])
_open_files.raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), *_open_files.given())
"""
    done = await run([sys.executable, "-c", script, str(tmp_path / "nr_open")], timeout=60)
    assert list(map(int, done.stdout.split())) == [most, most, GIVEN, most]


async def test_a_limit_that_cannot_be_raised_is_told_and_stays(given, monkeypatch, caplog):
    def refuse(*_):
        raise ValueError("not allowed to raise maximum limit")

    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", refuse)
        await asyncio.to_thread(_open_files.raise_limit)
    assert f"stays at {GIVEN}" in caplog.text
    assert await limit_of_a_child() == GIVEN
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (GIVEN, given)


async def test_nothing_is_set_where_the_limit_was_not_raised():
    assert await limit_of_a_child() == GIVEN
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == GIVEN


async def test_a_child_that_has_ended_is_no_matter():
    await asyncio.to_thread(_open_files.raise_limit)
    _open_files.give_back(2**22 + 1)  # above any id that the kernel gives
