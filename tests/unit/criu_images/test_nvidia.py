"""Which paths are the driver's, what it says of itself; and a dump with CUDA loaded, built with pycriu's encoder: none was captured on a GPU."""

from __future__ import annotations

import json
import os
import stat

import pytest
from nodes import H100, OPEN, lay_driver, lay_library

from llmux.criu_images import capture, parse_policy, read_dump, read_manifest, take_inventory
from llmux.criu_images._cli import main
from llmux.criu_images._missing import find_missing
from llmux.criu_images._needs import NeedKind
from llmux.criu_images._nvidia import (
    Gpu,
    NvidiaDriver,
    is_cuda,
    is_made_by_driver,
    library_version,
    parse_gpu,
    parse_version,
)
from llmux.criu_images._report import render
from llmux.criu_images._report_written import render_manifest_json
from llmux.criu_images._users import Role, User
from llmux.criu_images._why_ours import treatments
from llmux.criu_images.manifest import Origin

from .conftest import FILE_PRIVATE
from .manifests import raw
from .published import check

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
CUDA, NVML = f"{LIBRARIES}/libcuda.so.580.65.06", f"{LIBRARIES}/libnvidia-ml.so.580.65.06"
COMPAT = "/usr/local/cuda-13/compat/libcuda.so.590.44.01"
GPU = Gpu(H100, "GPU-aaa")


@pytest.mark.parametrize(
    ("path", "version"),
    [
        (CUDA, "580.65.06"),
        (NVML, "580.65.06"),
        ("/usr/lib64/libcudadebugger.so.570.86.15", "570.86.15"),
        ("/usr/local/nvidia/lib64/libnvidia-ptxjitcompiler.so.535.104", "535.104"),
        ("/lib/libGLX_nvidia.so.580.65.06", "580.65.06"),
        ("/libnvoptix.so.1000.10", "1000.10"),
        ("/a\nb/libcuda.so.580.65.06", "580.65.06"),
        ("/usr/lib/libcuda.so.1", None),
        ("/usr/lib/libcudart.so.12.8.90", None),
        ("/usr/lib/libnvidia-egl-gbm.so.1.1.2", None),
        ("/usr/lib/libnvidia-container.so.1.17.8", None),
        ("/usr/lib/libcuda.so.580.65.06.bak", None),
        ("/usr/lib/mylibcuda.so.580.65.06", None),
        ("/usr/lib/libcuda.so.580.65.06/x", None),
    ],
)
def test_a_library_of_the_driver_bears_its_version(path, version):
    assert library_version(raw(path)) == version


def test_cuda_is_one_of_them():
    assert [is_cuda(raw(path)) for path in (CUDA, COMPAT, NVML, "/lib/libcudadebugger.so.580.65.06")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/dev/nvidia0", True),
        ("/dev/nvidiactl", True),
        ("/dev/nvidia-uvm", True),
        ("/dev/nvidia-caps/nvidia-cap1", True),
        ("/dev/nvidia-caps-imex-channels/channel0", True),
        ("/proc/driver/nvidia/gpus/0000:0a:00.0/information", True),
        ("/proc/driver/nvidia-uvm", True),
        ("/dev/dri/renderD128", False),
        ("/dev/gdrdrv", False),
        ("/proc/driver/rtc", False),
        ("/srv/dev/nvidia0", False),
    ],
)
def test_the_driver_makes_devices_and_files_in_proc(path, made):
    assert is_made_by_driver(raw(path)) is made


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (OPEN.format("580.65.06"), "580.65.06"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104  Wed Jan 1\n", "535.104"),
        (
            "NVRM version: NVIDIA UNIX aarch64 Kernel Module  570.86.15  Thu Jan 23\nGCC version: 13.2.0\n",
            "570.86.15",
        ),
        ("something else\nmore", "something else"),
        ("", ""),
    ],
)
def test_the_version_of_the_module_that_is_loaded(text, version):
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("text", "gpu"),
    [
        ("Model: \t\t NVIDIA L4\nGPU UUID: \t GPU-1\n", Gpu("NVIDIA L4", "GPU-1")),
        ("Model: \t\t Unknown\nGPU UUID: \t GPU-????????-????-????-????-????????????\n", Gpu("", "")),
        ("", Gpu("", "")),
    ],
)
def test_a_gpu_as_far_as_the_driver_tells(text, gpu):
    assert parse_gpu(text) == gpu


class TestBuiltDump:
    """Of a process that has CUDA's and NVML's libraries mapped, in the state in which CRIU's CUDA plugin dumps it: no device is left open."""

    @pytest.fixture
    def root(self, tmp_path):
        """Give the container whose dump it is: it sees one GPU."""
        root = tmp_path / "there"
        lay_driver(root, "580.65.06", (H100, "GPU-aaa"))
        lay_library(root, "libcuda.so.580.65.06")
        lay_library(root, "libnvidia-ml.so.580.65.06")
        (root / "bin").mkdir()
        (root / "bin/true").write_bytes(b"a program")
        return root

    def build(self, maker, *paths: str, plugin: bool = False):
        files = [maker.reg(10 + number, path, size=3) for number, path in enumerate(paths)]
        maker.whole(*files)
        maker.task(7, {}, *(maker.vma(0x10000 * file["id"], FILE_PRIVATE | 1, file["id"]) for file in files))
        if plugin:
            maker.inventory(plugins_entry={"plugins": ["cuda_plugin"]})
        return take_inventory(read_dump(maker.directory))

    def capture(self, maker, root):
        return capture(maker.directory, root=root, container_started_ns=0)

    def test_show_names_the_driver_and_the_gpus(self, maker):
        inventory = self.build(maker, CUDA, NVML, plugin=True)
        needs = {(need.kind, need.what): need.users for need in inventory.needs}
        assert needs[NeedKind.NVIDIA_DRIVER, "580.65.06"] == (
            User(7, Role.MAPPING, 0xA0000),
            User(7, Role.MAPPING, 0xB0000),
        )
        assert needs[NeedKind.GPU, "of the kind that the dump's processes had"] == (
            User(7, Role.MAPPING, 0xA0000),
        )
        said = render(read_dump(maker.directory), inventory)
        assert "NVIDIA driver" in said
        assert "580.65.06" in said

    def test_show_names_no_gpu_where_only_nvml_is_loaded(self, maker):
        assert [(need.kind, need.what) for need in self.build(maker, NVML).needs] == [
            (NeedKind.NVIDIA_DRIVER, "580.65.06")
        ]

    def test_capture_records_the_node_and_carries_nothing_of_it(self, maker, root):
        self.build(maker, CUDA, NVML)
        manifest = self.capture(maker, root)
        assert manifest.nvidia == NvidiaDriver("580.65.06", (GPU,))
        assert read_manifest(maker.directory) == manifest
        found = {
            os.fsdecode(file.names[0]): (file.origin, file.carried, file.digest) for file in manifest.files
        }
        assert found[CUDA] == found[NVML] == (Origin.NODE, None, None)
        assert found["/bin/true"][0] is Origin.RUN_TIME
        assert not any("no digest" in warning for warning in manifest.warnings)

    def test_no_rule_carries_what_is_the_nodes(self, maker, root):
        self.build(maker, CUDA)
        manifest = capture(maker.directory, root=root, container_started_ns=0, policy=parse_policy(["carry"]))
        (library,) = (file for file in manifest.files if raw(CUDA) in file.names)
        assert library.carried is None
        assert treatments(manifest, raw(CUDA)) == (
            "not carried: it is of the node (of NVIDIA's driver 580.65.06, which is the node's); plan compares what is here: size, mode",
        )

    def test_no_gpus_are_recorded_where_no_process_had_cuda_loaded(self, maker, root):
        self.build(maker, NVML)
        assert self.capture(maker, root).nvidia == NvidiaDriver("580.65.06")

    def test_gpus_are_recorded_where_the_plugin_took_part(self, maker, root):
        self.build(maker, NVML, plugin=True)
        assert self.capture(maker, root).nvidia == NvidiaDriver("580.65.06", (GPU,))

    def test_nothing_is_recorded_of_a_dump_that_has_nothing_of_the_driver(self, maker, root):
        self.build(maker)
        manifest = self.capture(maker, root)
        assert manifest.nvidia is None
        assert json.loads(render_manifest_json(manifest, ()))["nvidia"] is None

    def test_a_library_of_another_version_is_the_images_like_any_file(self, maker, root):
        compat = root / COMPAT[1:]
        compat.parent.mkdir(parents=True)
        compat.write_bytes(b"lib")
        compat.chmod(0o644)
        self.build(maker, COMPAT)
        manifest = self.capture(maker, root)
        (library,) = (file for file in manifest.files if raw(COMPAT) in file.names)
        assert (library.origin, library.carried is None) == (Origin.RUN_TIME, False)
        assert manifest.nvidia == NvidiaDriver("580.65.06", (GPU,))

    def test_on_a_machine_without_the_driver_a_library_is_a_file_like_any(self, maker, root):
        (root / "proc/driver/nvidia/version").unlink()
        self.build(maker, CUDA)
        manifest = self.capture(maker, root)
        assert manifest.nvidia is None
        assert {file.origin for file in manifest.files} == {Origin.RUN_TIME}

    def test_a_device_that_another_plugin_has_dumped_is_a_node_and_so_is_its_directory(self, maker, root):
        (root / "dev/nvidia-caps").mkdir(parents=True)
        os.mknod(root / "dev/nvidia0", 0o666 | stat.S_IFCHR, 0)  # the number that nobody needs a right for
        maker.whole(
            maker.reg(3, "/dev/nvidia0", mode=stat.S_IFCHR | 0o666),
            maker.reg(4, "/dev/nvidia-caps", mode=0o40755),
            fds={0: 3, 1: 4},
        )
        manifest = self.capture(maker, root)
        assert [(node.path, node.reason) for node in manifest.nodes] == [
            (b"/dev/nvidia-caps", "NVIDIA's driver makes it"),
            (b"/dev/nvidia0", "NVIDIA's driver makes it"),
        ]
        assert raw("/dev/nvidia-caps") not in {directory.path for directory in manifest.directories}
        assert manifest.nvidia == NvidiaDriver("580.65.06")

    def test_programs_are_told(self, maker, root):
        self.build(maker, CUDA)
        written = render_manifest_json(self.capture(maker, root), ())
        check("capture", written)
        assert json.loads(written)["nvidia"] == {
            "version": "580.65.06",
            "gpus": [{"model": H100, "uuid": "GPU-aaa"}],
        }

    def test_verify_tells_people_and_needs_no_gpu(self, maker, root, capfd, monkeypatch):
        self.build(maker, CUDA)
        self.capture(maker, root)
        monkeypatch.setattr("sys.argv", ["llmux-criu-images", "verify", str(maker.directory)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        said = f"NVIDIA driver 580.65.06, {H100} (GPU-aaa): of the node, neither carried nor rebuilt\n"
        assert said in capfd.readouterr().out

    @pytest.mark.parametrize("captured", [False, True])
    def test_missing_says_that_a_node_brings_it(self, maker, root, tmp_path, captured):
        inventory = self.build(maker, CUDA)
        manifest = self.capture(maker, root) if captured else None
        here = tmp_path / "here"
        here.mkdir()
        found = {item.path: item.mended_by for item in find_missing(inventory, manifest, here)}
        assert (
            found[raw(CUDA)]
            == "the container's start, with the GPUs of a node that has the dump's NVIDIA driver"
        )
