"""What holds for every test."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# As the engine itself does, before anything imports numpy: on a busy machine OpenBLAS's threads wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from demands.table import proofs, table
from llmux.server._loop import Loop

# Machines are shared and noisy: no example fails for the time that it takes.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--coverage-table", type=Path, help="write docs/coverage.md's text to this file")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse marks that name no row, and write the table where that was asked for."""
    proved = proofs(items)
    if (path := config.getoption("--coverage-table")) is not None:
        path.write_text(table(proved))


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run coroutines on the loop that serves what they test."""
    return {"loop": asyncio.new_event_loop if "tiny_engine" in item.path.parts else Loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """In CI a test that is skipped has failed: it is there to be run."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CI skips nothing: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    """In CI a module that skips itself has failed too."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} skipped itself, and CI skips nothing: {report.longrepr}"
    return report
