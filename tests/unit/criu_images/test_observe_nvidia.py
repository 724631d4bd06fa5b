from __future__ import annotations

from pathlib import Path

import pytest
from nodes import A100, H100, lay_driver

from llmux.criu_images._nvidia import Gpu, NvidiaDriver
from llmux.criu_images._observe_nvidia import read_driver
from llmux.criu_images._safefs import Tree


def read(root: Path) -> NvidiaDriver | None:
    with Tree(root) as tree:
        return read_driver(tree)


def test_the_gpus_come_in_the_order_of_their_bus_addresses(tmp_path):
    lay_driver(tmp_path, "580.65.06", (H100, "GPU-a"), (A100, "GPU-b"))
    assert read(tmp_path) == NvidiaDriver("580.65.06", (Gpu(H100, "GPU-a"), Gpu(A100, "GPU-b")))


def test_a_machine_without_the_driver_has_none(tmp_path):
    lay_driver(tmp_path, "")
    assert read(tmp_path) is None


def test_a_container_without_gpus_has_the_driver_alone(tmp_path):
    lay_driver(tmp_path)
    (tmp_path / "proc/driver/nvidia/gpus").rmdir()
    assert read(tmp_path) == NvidiaDriver("580.65.06")


def test_a_gpu_that_tells_nothing_is_left_out(tmp_path):
    lay_driver(tmp_path, "580.65.06", (H100, "GPU-a"), (A100, "GPU-b"))
    (tmp_path / "proc/driver/nvidia/gpus/0000:00:00.0/information").unlink()
    assert read(tmp_path) == NvidiaDriver("580.65.06", (Gpu(A100, "GPU-b"),))


@pytest.mark.parametrize("content", [b"", b"\xff\0\n", b"x" * 100_000])
def test_what_is_no_such_text_is_no_fault(tmp_path, content):
    lay_driver(tmp_path)
    (tmp_path / "proc/driver/nvidia/version").write_bytes(content)
    found = read(tmp_path)
    assert found is not None
    assert len(found.version) <= 1 << 16


def test_where_the_tree_has_no_proc_yet_this_ones_tells(tmp_path):
    assert read(tmp_path) == read(Path("/"))


def test_nothing_but_a_regular_file_is_read(tmp_path):
    lay_driver(tmp_path)
    version = tmp_path / "proc/driver/nvidia/version"
    version.unlink()
    version.mkdir()
    assert read(tmp_path) is None
