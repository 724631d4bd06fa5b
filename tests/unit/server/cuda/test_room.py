"""What is on GPUs by NVML, stood in for, and the room in a /proc and control groups as the kernel writes them."""

from types import SimpleNamespace

import pynvml
import pytest

from llmux.server.cuda import _room

GIB = 1 << 30


@pytest.fixture
def nvml(monkeypatch):
    """Have NVML with two GPUs: a list of processes, and free bytes, each by the GPU's index."""
    processes = {0: [], 1: []}
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda gpu: f"GPU-{gpu}")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", processes.__getitem__)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda gpu: SimpleNamespace(free=gpu * GIB))
    return processes


def process(pid, used):
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


def test_what_processes_have_is_summed_by_gpu(nvml):
    nvml[0] += [process(7, GIB), process(8, 5), process(9, GIB)]
    nvml[1] += [process(7, 3), process(8, None)]
    assert _room.on_gpus({7, 9}) == {"GPU-0": 2 * GIB, "GPU-1": 3}
    assert _room.on_gpus({70}) == {}
    assert _room.free_on_gpus() == {"GPU-0": 0, "GPU-1": GIB}


def test_without_nvml_nothing_is_known():
    assert _room.on_gpus({1}) == {}
    assert _room.free_on_gpus() == {}


def test_a_gpu_that_has_no_such_list_is_not_known(nvml, monkeypatch):
    def refuse(_gpu):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", refuse)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", refuse)
    assert _room.on_gpus({1}) == {}
    assert _room.free_on_gpus() == {}


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("limit", "taken", "inactive", "room"),
    [("max", 0, 0, 8 * GIB), (10 * GIB, GIB, 0, 8 * GIB), (10 * GIB, 6 * GIB, 2 * GIB, 6 * GIB)],
)
def test_room_is_the_machines_or_the_control_groups(tmp_path, limit, taken, inactive, room):
    put(tmp_path / "proc/meminfo", f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable: {8 * GIB // 1024} kB\n")
    put(tmp_path / "proc/self/cgroup", "0::/\n")
    group = tmp_path / "sys/fs/cgroup"
    put(group / "memory.max", f"{limit}\n")
    put(group / "memory.current", f"{taken}\n")
    put(group / "memory.stat", f"anon 7\ninactive_file {inactive}\n")
    assert _room.host_memory(tmp_path) == room


def test_a_control_group_of_version_1(tmp_path):
    put(tmp_path / "proc/meminfo", f"MemAvailable: {8 * GIB // 1024} kB\n")
    put(tmp_path / "proc/self/cgroup", "3:memory:/a\n")
    group = tmp_path / "sys/fs/cgroup/memory/a"
    put(group / "memory.limit_in_bytes", f"{4 * GIB}\n")
    put(group / "memory.usage_in_bytes", f"{3 * GIB}\n")
    put(group / "memory.stat", f"inactive_file 1\ntotal_inactive_file {GIB}\n")
    assert _room.host_memory(tmp_path) == 2 * GIB
    group.joinpath("memory.stat").unlink()
    assert _room.host_memory(tmp_path) == 4 * GIB
