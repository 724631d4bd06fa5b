"""What holds for every test."""

import os
from pathlib import Path

import pytest

# As the engine itself does, before anything imports numpy: on a busy machine OpenBLAS's threads wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from demands.table import proofs, table
from proof.traces import Traces

_BEFORE = pytest.StashKey[Traces]()
_INTEGRATION = Path(__file__).parent / "integration"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Look at what is shared with whatever else runs on this machine."""
    if not _is_worker(session.config):
        session.config.stash[_BEFORE] = Traces.seen()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if anything outlives the session, and where several processes run it, the last of them."""
    if _is_worker(session.config):
        return
    if left := Traces.seen() - session.config.stash[_BEFORE]:
        session.config.get_terminal_writer().line(f"left behind: {left}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--coverage-table", type=Path, help="write docs/coverage.md's text to this file")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse marks that name no row, write the table where that was asked for, and say what must not run side by side."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    proved = proofs(items)
    if (path := config.getoption("--coverage-table")) is not None:
        path.write_text(table(proved))


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


def _group(item: pytest.Item) -> str:
    """Return the name of what runs in one process: tests that share what is dear to make, or what a machine has once."""
    within = item.path.is_relative_to
    in_containers = item.get_closest_marker("docker") and not within(_INTEGRATION / "storms")
    if item.get_closest_marker("root") or (within(_INTEGRATION) and not in_containers):
        return "machine"
    return "containers" if in_containers else str(item.path)
