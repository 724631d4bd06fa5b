"""Whether B's driver and GPUs are like A's: records, and two directories that stand for the two containers."""

from __future__ import annotations

import stat

import pytest
from manifests import facts, file_entry, inode, manifest, node_entry
from nodes import A100, H100, lay_driver, lay_library
from worlds import regular

from llmux.criu_images._compare import Likeness
from llmux.criu_images._facts import Seen
from llmux.criu_images._nvidia import Gpu, NvidiaDriver
from llmux.criu_images._plan import make_plan
from llmux.criu_images.errors import RebuildRefused
from llmux.criu_images.manifest import Origin

CUDA = "/usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06"
LIBRARY = file_entry(CUDA, origin=Origin.NODE, carried=None, digest=None, build_id="aa")
HERE = {CUDA: Seen(inode(mtime_ns=9), build_id="aa")}
"""Installed at another time."""


def driver(*gpus: tuple[str, str], version: str = "580.65.06") -> NvidiaDriver:
    return NvidiaDriver(version, tuple(Gpu(*gpu) for gpu in gpus))


def planned(wanted: NvidiaDriver | None, here: NvidiaDriver | None, paths=None, **parts):
    made = manifest(nvidia=wanted, **({"files": (LIBRARY,)} | parts))
    return make_plan(made, facts(HERE if paths is None else paths, nvidia=here))


ONE = driver((H100, "GPU-a"))


@pytest.mark.demand("nvidia")
def test_a_node_alike_is_no_conflict_and_nothing_to_warn_of():
    plan = planned(ONE, ONE)
    assert (plan.actions, plan.conflicts, plan.warnings) == ((), (), ())
    ((likeness, found),) = ((one.likeness, one.found) for one in plan.compared)
    assert (likeness, found) == (Likeness.SAME, "of the same version of NVIDIA's driver")


@pytest.mark.demand("nvidia")
@pytest.mark.parametrize(
    ("here", "found"),
    [
        (None, "none here, and the dump was made with 580.65.06"),
        (
            driver((H100, "GPU-a"), version="570.86.15"),
            "570.86.15 here, and the dump was made with 580.65.06",
        ),
    ],
)
def test_another_driver_is_one_conflict_whatever_else_is_missing_with_it(here, found):
    plan = planned(ONE, here, {}, nodes=(node_entry("/dev/nvidia-uvm"),))
    conflict, *others = (one for one in plan.conflicts if not one.subject.startswith("GPU"))
    assert others == []
    assert (conflict.subject, conflict.found) == ("NVIDIA driver", found)
    assert conflict.criu_says == f"Can't open file {CUDA[1:]} on restore: No such file or directory"
    assert conflict.advice.startswith("Restore on a node with NVIDIA's driver 580.65.06, and give")


def test_another_driver_leaves_the_other_conflicts_alone():
    plan = planned(ONE, None, {}, nodes=(node_entry("/dev/kfd"),), files=())
    assert [(one.subject, one.criu_says is None) for one in plan.conflicts] == [
        ("/dev/kfd", False),
        ("NVIDIA driver", True),
    ]


@pytest.mark.demand("nvidia")
@pytest.mark.parametrize(
    ("here", "found"),
    [
        (driver((A100, "GPU-b"), (A100, "GPU-c")), f"none here ({A100})"),
        (driver(), "none here (the container sees no GPU)"),
    ],
)
def test_another_kind_of_gpu_is_a_conflict(here, found):
    (conflict,) = planned(ONE, here).conflicts
    assert (conflict.subject, conflict.found, conflict.criu_says) == (f"GPU {H100}", found, None)
    assert "restore on a node with one" in conflict.advice


def test_each_kind_that_is_lacking_is_named():
    plan = planned(driver((H100, "a"), (A100, "b"), ("NVIDIA L4", "c")), driver((A100, "b")))
    assert [one.subject for one in plan.conflicts] == [f"GPU {H100}", "GPU NVIDIA L4"]


@pytest.mark.demand("nvidia")
def test_another_gpu_of_the_kind_is_a_warning_since_a_device_map_decides():
    plan = planned(ONE, driver((H100, "GPU-z")))
    assert plan.conflicts == ()
    (warning,) = plan.warnings
    assert warning == (
        "GPU-a of the dump is not here: what was there comes back on another GPU of its kind,"
        " by a device map (cuda-checkpoint --device-map, driver 580 or newer)"
    )


def test_another_number_of_gpus_is_a_warning():
    (warning,) = planned(ONE, driver((H100, "GPU-a"), (H100, "GPU-b"))).warnings
    assert warning.startswith("2 GPUs here, the dump's container saw 1: without a device map")


@pytest.mark.parametrize(
    "here", [driver(("", "")), driver(("", "GPU-a"), (H100, "GPU-b")), driver(("", "GPU-a"))]
)
def test_where_the_driver_names_no_kind_there_is_no_conflict(here):
    assert planned(ONE, here).conflicts == ()


@pytest.mark.parametrize("here", [ONE, driver((A100, "GPU-b")), driver()])
def test_gpus_do_not_matter_to_a_dump_without_cuda(here):
    plan = planned(driver(), here)
    assert (plan.conflicts, plan.warnings) == ((), ())


@pytest.mark.parametrize("here", [None, ONE])
def test_a_dump_that_has_nothing_of_the_driver_fits_any_node(here):
    assert planned(None, here, files=()).conflicts == ()


def test_a_library_that_is_missing_under_the_right_driver_is_the_containers_start():
    (conflict,) = planned(ONE, ONE, {}).conflicts
    assert (conflict.subject, conflict.found) == (CUDA, "missing")
    assert "--gpus all" in conflict.advice


def test_a_library_of_another_build_under_the_same_version_is_a_conflict():
    (conflict,) = planned(ONE, ONE, {CUDA: Seen(inode(), build_id="bb")}).conflicts
    assert "is of another build" in conflict.found


@pytest.mark.parametrize("path", ["/dev/nvidia-uvm", "/dev/nvidia-caps/nvidia-cap1"])
def test_a_device_of_the_drivers_may_have_another_number(path):
    here = {path: Seen(inode(stat.S_IFCHR | 0o666, rdev=7))}
    assert planned(ONE, ONE, here, files=(), nodes=(node_entry(path),)).conflicts == ()


def test_a_device_of_the_drivers_that_is_missing_is_the_containers_start():
    (conflict,) = planned(ONE, ONE, {}, files=(), nodes=(node_entry("/dev/nvidia0"),)).conflicts
    assert conflict.advice == "Give the container the node's GPUs (docker run --gpus all)."


class TestTwoContainers:
    """The real capture and the real plan, on directories; the images are stood in for by the test's own references."""

    @pytest.fixture(autouse=True)
    def captured(self, world):
        lay_driver(world.there, "580.65.06", (H100, "GPU-a"))
        lay_library(world.there, CUDA.rpartition("/")[2])
        world.capture(regular(CUDA, 3))

    def test_nothing_of_the_driver_is_carried_or_made(self, world):
        lay_driver(world.here, "580.65.06", (H100, "GPU-b"))
        lay_library(world.here, CUDA.rpartition("/")[2])
        plan = world.rebuild()
        assert plan.conflicts == ()
        assert [one.likeness for one in plan.compared] == [Likeness.SAME]
        assert any("GPU-a of the dump is not here" in warning for warning in plan.warnings)
        assert {file.name for file in (world.images / "llmux").iterdir()} == set()

    @pytest.mark.parametrize(
        ("version", "gpus", "subject"),
        [
            ("", (), "NVIDIA driver"),
            ("570.86.15", ((H100, "GPU-a"),), "NVIDIA driver"),
            ("580.65.06", ((A100, "GPU-a"),), f"GPU {H100}"),
        ],
    )
    def test_another_node_refuses_the_rebuild(self, world, version, gpus, subject):
        lay_driver(world.here, version, *gpus)
        lay_library(world.here, f"libcuda.so.{version or '1.0'}")
        with pytest.raises(RebuildRefused) as raised:
            world.rebuild()
        assert [one.partition(":")[0] for one in raised.value.conflicts] == [subject]
