"""What is measured reaches the records, outlives a restart, and is never more than a help."""

from __future__ import annotations

import json

import pytest

from llmux.server._meter import Meter
from llmux.server._model import NotStarted, Process
from llmux.server._record import Replica
from llmux.server._rules import Sizes
from llmux.server._takes import Takes, wake_of


def resize(amounts):
    return {name: Sizes({"host_memory": each.host_memory or 0}) for name, each in amounts.items()}


@pytest.fixture
def replica():
    return Replica("m", "m", None, NotStarted(since=0.0))


async def opened(path, replica):
    meter = Meter(resize, path)
    await meter.open([replica])
    return meter


async def test_a_measurement_is_in_the_record_at_once(tmp_path, replica):
    meter = await opened(tmp_path / "measured.json", replica)
    meter.moved(replica, wake_of(Process.CHECKPOINT), 1.5)
    meter.weighed(replica, awake=7)
    assert 1.5 < replica.takes.wake[Process.CHECKPOINT] < 3
    assert replica.sizes.awake == {"host_memory": 7}


async def test_it_outlives_a_restart(tmp_path, replica):
    path = tmp_path / "state" / "measured.json"
    meter = await opened(path, replica)
    meter.moved(replica, wake_of(Process.CHECKPOINT), 1.5, {"restore": 1.0, "health": 0.5})
    meter.weighed(replica, awake=7)
    meter.weighed(replica, asleep=3, on_gpu=4, disk=2)
    await meter.keep()
    assert replica.takes.parts == {"wake:checkpoint/restore": 1.0, "wake:checkpoint/health": 0.5}
    assert [each.name for each in path.parent.iterdir()] == ["measured.json"]
    later = Replica("m", "m", None, NotStarted(since=0.0))
    await opened(path, later)
    assert (later.takes, later.sizes) == (replica.takes, replica.sizes)
    assert json.loads(path.read_text())["amounts"]["m"]["gpu_memory_asleep"] == 4


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "{}",
        json.dumps({"version": 2, "moves": {}, "amounts": {}}),
        json.dumps({"version": 1, "moves": {}, "amounts": []}),
        json.dumps({"version": 1, "moves": {}, "amounts": {"m": {"host_memory": -1}}}),
        json.dumps({"version": 1, "moves": {}, "amounts": {"m": {"horses": 1}}}),
        json.dumps({"version": 1, "moves": {"m": {"wake:stop": {"mean": "x"}}}, "amounts": {}}),
    ],
)
async def test_a_file_that_is_none_is_told_of_and_not_used(tmp_path, replica, caplog, text):
    path = tmp_path / "measured.json"
    path.write_text(text)
    await opened(path, replica)
    assert "is not used" in caplog.text
    assert replica.takes == Takes()


async def test_a_place_that_cannot_be_written_stops_nothing(tmp_path, replica, caplog):
    (tmp_path / "file").write_text("")
    meter = Meter(resize, tmp_path / "file" / "measured.json")
    meter.moved(replica, wake_of(Process.CHECKPOINT), 1.5)
    await meter.keep()
    assert "cannot be kept" in caplog.text


async def test_without_a_place_nothing_is_written(replica):
    meter = Meter()
    await meter.open([replica])
    meter.weighed(replica, awake=7)
    await meter.keep()
    assert replica.sizes == Sizes()
