"""The stand-in for NVIDIA's driver, for the tests of whoever calls it."""

from pathlib import Path

import pytest

from stand_in_driver import StandIn


@pytest.fixture
def driver(tmp_path, monkeypatch):
    directory = tmp_path / "driver"
    directory.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    driver = StandIn(directory, monkeypatch.setenv)
    yield driver
    driver.close()
