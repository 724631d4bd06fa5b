"""Fixtures for cases in real containers: they need root, a Docker engine and the project's image, and fail without them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from proof.bench import Bench, Settings, bench
from proof.containers import check_image
from proof.sabotage import sabotage
from proof.story import Sleeper, put_to_sleep
from proof.traces import Traces

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMAGE = "llmux:tiny"
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

LEFT_BEHIND = 10
"""What pytest ends with then: none of its own numbers."""

MakeBench = Callable[[], Bench]
AsleepOn = Callable[[Bench, Settings], Sleeper]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `side_by_side.py` runs apart: all before a real llmux or engine of this machine, without Docker."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("integration")
            if {"server", "tiny_engine"} & set(item.path.parts) and not item.get_closest_marker("docker"):
                item.add_marker("apart")


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail the session, not a test, if its containers, networks, processes, mounts, shared memory or directories outlive it."""
    # A session that is told to end cleans up, as it does on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    before = Traces.seen()
    yield
    if left := Traces.seen() - before:
        pytest.exit(f"left behind on this machine: {left}", returncode=LEFT_BEHIND)


@pytest.fixture(scope="session")
def make_bench(nothing_left_behind: None) -> Iterator[MakeBench]:
    """Make benches that last as long as the session."""
    check_image(IMAGE)
    cache = ROOT / ".cache" / "models" / "tiny"
    assert cache.is_dir(), f"no model in {cache}: run `make setup`"
    with ExitStack() as benches:
        mounts = sabotage(os.environ.get("LLMUX_TEST_WITHOUT"), benches)
        yield lambda: benches.enter_context(bench(IMAGE, cache, mounts=mounts))


@pytest.fixture(scope="session")
def larder(make_bench: MakeBench) -> Callable[[Settings], tuple[Bench, Sleeper]]:
    """Make container A's checkpoint once for each configuration, its container removed."""
    made: list[tuple[Settings, tuple[Bench, Sleeper]]] = []

    def asleep(settings: Settings) -> tuple[Bench, Sleeper]:
        known = [result for each, result in made if each == settings]
        if known:
            return known[0]
        here = make_bench()
        with here.node("a", settings) as a:
            sleeper = put_to_sleep(a)
        made.append((settings, (here, sleeper)))
        return here, sleeper

    return asleep


@pytest.fixture
def clean_host_shm(nothing_left_behind: None) -> Iterator[None]:
    """Remove what an engine left in the host's /dev/shm: where it shares that, nobody else can."""
    before = Traces.seen()
    yield
    for path in (Traces.seen() - before).shared_memory:
        Path(path).unlink(missing_ok=True)


@pytest.fixture
def desk(make_bench: MakeBench) -> Bench:
    """Give a case a bench of its own."""
    return make_bench()


@pytest.fixture
def asleep_on(larder: Callable[[Settings], tuple[Bench, Sleeper]]) -> AsleepOn:
    """Put a copy of container A's checkpoint on a case's own bench."""

    def copy(here: Bench, settings: Settings) -> Sleeper:
        source, sleeper = larder(settings)
        here.copy_checkpoints_of(source)
        return sleeper

    return copy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a browser that asks nobody for anything by itself."""
    path = shutil.which("chromium")
    assert path, "no chromium: run `make setup`, or install Debian's package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()
