"""The success test with CUDA state, of the stand-ins for NVIDIA's libraries: real CRIU dumps what has left its GPUs, and what it restores goes back to them.

The stand-in keeps each process's state in files that both containers share, where a driver would find it in the restored memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from llmux_setup import stand_in
from proof.bench import MODEL, Bench, Model, Node, Settings
from proof.containers import Mount
from proof.story import check_cold_start, check_restored, put_to_sleep
from stand_in_driver import CUDA_STATE, ENGINE, StandIn
from stand_in_driver.nvml import GIB, SAID

pytestmark = pytest.mark.docker

LIBRARIES, LOADED, STATE = "/opt/stand-in", "/opt/stand-in-engine", "/var/lib/stand-in"
FLAGS = (
    f"--env=LD_LIBRARY_PATH={LIBRARIES}/cuda:{LIBRARIES}/nvml",
    f"--env={CUDA_STATE}={STATE}",
    f"--env={SAID}={STATE}/nvml",
)
ONE, OTHER = (f"8f4022ba-e0cb-1298-286e-225c953a7fe{digit}" for digit in "01")


@pytest.fixture
def driver(tmp_path) -> StandIn:
    """Give the driver of a machine with two GPUs; what runs with it runs in containers."""
    directory = tmp_path / "driver"
    directory.mkdir()
    directory.joinpath("gpus").write_text(f"{plain(ONE)}\n{plain(OTHER)}\n")
    there(directory, ONE, OTHER)
    return StandIn(directory, lambda _name, _value: None)


def there(directory: Path, *uuids: str) -> None:
    """Have NVML tell of these GPUs."""
    lines = (f"gpu {index} GPU-{uuid} {80 * GIB} 0\n" for index, uuid in enumerate(uuids))
    directory.joinpath("nvml").write_text("driver 580.65.06\ncuda 13000\n" + "".join(lines))


def plain(uuid: str) -> str:
    return uuid.replace("-", "")


def on_gpu(index: int) -> Settings:
    fields = {"env": {"PYTHONPATH": LOADED}, "resources": {"gpus": [index]}}
    return Settings(models=(Model(fields=fields),))


def node(desk: Bench, label: str, driver: StandIn, gpu: int = 0):
    mounts = (
        Mount(stand_in.DRIVER, f"{LIBRARIES}/cuda", read_only=True),
        Mount(stand_in.NVML, f"{LIBRARIES}/nvml", read_only=True),
        Mount(ENGINE, LOADED, read_only=True),
        Mount(driver.directory, STATE),
    )
    return desk.node(label, on_gpu(gpu), flags=FLAGS, mounts=mounts)


def texts(driver: StandIn, kind: str) -> dict[int, str]:
    """Return what the driver says of each process."""
    return {int(path.stem): path.read_text() for path in driver.directory.glob(f"*.{kind}")}


def counts(driver: StandIn) -> dict[int, int]:
    """Return how far each process has counted, once none is in the midst of writing it."""
    while "" in (found := texts(driver, "count")).values():
        pass
    return {pid: int(text) for pid, text in found.items()}


def changed(files: Iterable[Path]) -> list[float]:
    return [path.stat().st_mtime for path in files]


def restored_at(node: Node) -> float:
    """Return when CRIU was done, by its log: some milliseconds early, for its clock begins after the file."""
    log = f"/var/log/llmux/{MODEL}.restore.log"
    born = float(node.container.exec("stat", "--format=%.9W", log))
    assert born > 0
    lines = node.container.exec("cat", log).splitlines()
    (last,) = [line for line in lines if "Restore finished success" in line]
    return born + float(last[1:].partition(")")[0])


@pytest.mark.parametrize("gpu", [0, 1], ids=["same-gpu", "other-gpu"])
def test_what_has_left_its_gpu_in_a_goes_back_to_its_own_in_b(desk: Bench, driver: StandIn, gpu: int) -> None:
    with node(desk, "a", driver) as a:
        sleeper = put_to_sleep(a)
        pids = sorted(texts(driver, "state"))
        assert len(pids) > 1
        assert set(texts(driver, "gpu").values()) == {plain(ONE)}
        assert set(texts(driver, "state").values()) == {"checkpointed"}
        assert driver.done() == [f"{call} {pid} 0" for call in ("lock", "checkpoint") for pid in pids]
        images = desk.checkpoints.glob(f"{MODEL}/images/core-*.img")
        assert max(changed(driver.directory.glob("*.state"))) <= min(changed(images))
        before = counts(driver)
    with node(desk, "b", driver, gpu) as b:
        assert counts(driver) == before
        b.llmux.wake(MODEL)
        check_restored(b, sleeper)
        done = driver.done()
        assert [line.split()[0] for line in done] == ["restore"] * len(pids) + ["unlock"] * len(pids)
        assert sorted(done) == sorted(f"{call} {pid} 0" for call in ("restore", "unlock") for pid in pids)
        assert min(changed(driver.directory.glob("*.state"))) >= restored_at(b)
        assert set(texts(driver, "gpu").values()) == {plain((ONE, OTHER)[gpu])}
        assert set(texts(driver, "state").values()) == {"running"}
        assert all(number > before[pid] for pid, number in counts(driver).items())


def test_where_fewer_gpus_are_in_b_nothing_is_restored_in_vain(desk: Bench, driver: StandIn) -> None:
    with node(desk, "a", driver) as a:
        sleeper = put_to_sleep(a)
    driver.done()
    there(driver.directory, OTHER)
    with node(desk, "b", driver) as b:
        b.llmux.wake(MODEL)
        check_cold_start(b, sleeper, "2 were where it left them, and 1 are here")
        assert driver.done() == []


def test_what_the_driver_does_not_take_back_in_b_starts_cold(desk: Bench, driver: StandIn) -> None:
    with node(desk, "a", driver) as a:
        sleeper = put_to_sleep(a)
    for pid in texts(driver, "state"):
        driver.tell(pid, "fail-restore", "2")
    with node(desk, "b", driver) as b:
        b.llmux.wake(MODEL)
        check_cold_start(b, sleeper, "CUDA_ERROR_OUT_OF_MEMORY")
