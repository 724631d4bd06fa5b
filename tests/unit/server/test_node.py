"""What this machine has: from a made file tree as the kernel shows it, and from the machine itself."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pynvml
import pytest

from llmux.server import _node

MIB = 1 << 20


@pytest.fixture
def root(tmp_path):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        return tmp_path

    write("proc/meminfo", "MemTotal:       24684084 kB\nMemFree:        1 kB\n")
    write("proc/self/cgroup", "0::/\n")
    return write


def test_without_a_limit_it_is_the_machines_memory(root):
    made = root("sys/fs/cgroup/memory.max", "max\n")
    assert _node._host_memory(made) == _node.Quantity(24684084 * 1024, "the machine's memory")


def test_the_control_groups_limit_counts(root):
    made = root("sys/fs/cgroup/memory.max", f"{512 * MIB}\n")
    memory = _node._host_memory(made)
    assert memory.amount == 512 * MIB
    assert memory.source == f"the control group's limit, {made}/sys/fs/cgroup/memory.max"


def test_the_smallest_limit_of_the_groups_above_counts(root):
    root("proc/self/cgroup", "0::/pod/container\n")
    root("sys/fs/cgroup/pod/memory.max", f"{256 * MIB}\n")
    made = root("sys/fs/cgroup/pod/container/memory.max", f"{512 * MIB}\n")
    assert _node._host_memory(made).amount == 256 * MIB


def test_a_limit_of_version_1_counts(root):
    root("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/a:b\n0::/\n")
    root("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    made = root("sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", f"{128 * MIB}\n")
    assert _node._host_memory(made).amount == 128 * MIB


def test_a_kernel_without_control_groups_sets_no_limit(root):
    made = root("x", "")
    (made / "proc/self/cgroup").unlink()
    assert _node._host_memory(made).source == "the machine's memory"


def test_what_checkpoints_take_already_is_theirs(tmp_path):
    images = tmp_path / "images"
    before = _node._disk(images).amount  # not there yet: what is above it counts
    (images / "m").mkdir(parents=True)
    (images / "m/pages-1.img").write_bytes(os.urandom(8 * MIB))
    (images / "m/link").symlink_to("pages-1.img")
    facts = os.statvfs(images)
    after = _node._disk(images)
    assert after.amount - facts.f_bavail * facts.f_frsize >= 0
    assert sum(_node._sizes(images)) >= 8 * MIB
    assert abs(before - after.amount) < 1 << 30  # others write to this file system too
    assert after.source == f"the space for {images}"


def test_this_machine_has_memory_and_disk(tmp_path):
    found = _node.look(tmp_path)
    assert found.host_memory.amount > 0
    assert found.disk.amount > 0
    assert found.gpus or found.no_gpu


@pytest.fixture
def two_gpus(monkeypatch):
    """Give NVIDIA's bindings a driver that answers for two GPUs."""
    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}{handle}{handle}",
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=(handle + 1) * MIB),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)


@pytest.mark.parametrize(
    ("environ", "gpus"),
    [
        ({}, {0: MIB, 1: 2 * MIB}),
        ({"CUDA_VISIBLE_DEVICES": "1"}, {1: 2 * MIB}),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, {0: MIB, 1: 2 * MIB}),
        ({"CUDA_VISIBLE_DEVICES": "GPU-00"}, {0: MIB}),
        ({"CUDA_VISIBLE_DEVICES": "GPU-"}, {}),
        ({"CUDA_VISIBLE_DEVICES": ""}, {}),
    ],
)
def test_gpus_are_those_that_engines_may_see(two_gpus, environ, gpus):
    found, why, lost, uuids = _node._gpus(environ)
    assert uuids == {index: f"GPU-{index}{index}{index}" for index in gpus}
    assert (found, lost) == (gpus, {})
    assert bool(why) == (not gpus)


def test_parts_of_gpus_are_told_as_such(two_gpus):
    assert "parts of some (MIG), which are not counted" in _node._gpus({"CUDA_VISIBLE_DEVICES": "MIG-1"})[1]


def test_a_driver_that_fails_is_no_gpu(two_gpus, monkeypatch):
    def fail(_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", fail)
    lost = {0: "GPU is lost", 1: "GPU is lost"}
    assert _node._gpus({}) == ({}, "GPU 0: GPU is lost, GPU 1: GPU is lost", lost, {})


def test_one_that_is_lost_leaves_the_others(machine):
    machine.say("lost 0")
    found, why, lost, _ = _node._gpus({})
    assert (list(found), why, lost) == ([1], "GPU 0: GPU is lost", {0: "GPU is lost"})
    assert _node._gpus({"CUDA_VISIBLE_DEVICES": "1"})[2] == {}


def test_one_that_may_not_be_asked_is_not_there(two_gpus, monkeypatch):
    def refuse(index):
        if index == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        return index

    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", refuse)
    assert _node._gpus({}) == ({0: MIB}, "GPU 1: Insufficient Permissions", {}, {0: "GPU-000"})
