"""What is said of each GPU, and what mends it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmux.server.doctor import Verdict
from llmux.server.doctor._check_gpus import of_gpus
from llmux.server.doctor._facts import Gpu, Gpus, GpuUser

GIB = 1 << 30
GPU = Gpu(3, "H100", "GPU-3", 80 * GIB, mig=False, mig_pending=False, persistence=True, users=())
GPUS = Gpus((GPU,), "", "580.65", "13.0", checkpoint_api=True, plugin="/p.so", cuda_checkpoint="/c")


def said(topic, gpus=GPUS, **changes):
    each = (replace(GPU, **changes),) if changes else gpus.each
    return next(found for found in of_gpus(replace(gpus, each=each)) if found.topic == topic)


def test_one_that_lacks_nothing():
    assert {each.verdict for each in of_gpus(GPUS)} == {Verdict.FINE}
    assert said("gpu.3").seen == "H100, 80 GiB, GPU-3; its driver, 580.65, has the checkpoint API"
    assert said("gpu.3.mig").seen == "MIG is off"
    assert said("gpu.3.persistence").seen == "persistence mode is on"
    assert said("gpu.3.users").seen == "nobody but llmux's engines has any of its memory"


@pytest.mark.parametrize(
    ("driver", "mend"), [("550.1", "driver 570 or newer"), ("580.1", "--gpus all"), ("", "driver 570")]
)
def test_a_driver_without_the_checkpoint_api(driver, mend):
    found = said("gpu.3", replace(GPUS, driver=driver, checkpoint_api=False))
    assert (found.verdict, mend in found.mend) == (Verdict.NOTE, True)


@pytest.mark.parametrize(
    ("now", "then", "seen", "mend"),
    [
        (True, True, "MIG is on: ", "nvidia-smi -i 3 -mig 0"),
        (True, False, "until the GPU is reset", "--gpu-reset -i 3"),
        (False, True, "will be on", "nvidia-smi -i 3 -mig 0"),
    ],
)
def test_mig(now, then, seen, mend):
    found = said("gpu.3.mig", mig=now, mig_pending=then)
    assert found.verdict is Verdict.NOTE
    assert seen in found.seen
    assert mend in found.mend


def test_a_gpu_that_knows_no_mig_is_fine():
    assert said("gpu.3.mig", mig=None, mig_pending=None).verdict is Verdict.FINE


def test_persistence_mode_that_is_off_or_not_told():
    assert "nvidia-smi -i 3 -pm 1" in said("gpu.3.persistence", persistence=False).mend
    assert "gpu.3.persistence" not in {
        each.topic for each in of_gpus(replace(GPUS, each=(replace(GPU, persistence=None),)))
    }


def test_others_that_have_some_of_its_memory_and_what_is_left():
    users = (GpuUser(7, "python", 3 * GIB), GpuUser(8, "", None))
    found = said("gpu.3.users", users=users)
    assert found.verdict is Verdict.NOTE
    assert found.seen.endswith(": 7 (python) 3 GiB, 8 (not seen from here)")
    assert (
        found.mend == f'kill 7; or say what is left for engines: "resources": {{"gpus": {{"3": {77 * GIB}}}}}'
    )


def test_others_that_are_not_seen_from_here_are_found_on_the_host():
    found = said("gpu.3.users", users=(GpuUser(8, "", None),))
    assert found.mend == "find and end them on the host: nvidia-smi"


def test_whose_memory_it_is_may_not_be_told():
    assert said("gpu.3.users", users=None).verdict is Verdict.NOTE


def test_one_that_is_lost_is_lacking_and_the_others_are_told():
    lost = replace(GPUS, each=(Gpu(0, problem="GPU is lost"), GPU))
    found = said("gpu.0", lost)
    assert (found.verdict, found.seen) == (Verdict.LACKING, "it cannot be used: GPU is lost")
    assert "nvidia-smi --gpu-reset -i 0" in found.mend
    assert said("gpu.3", lost).verdict is Verdict.FINE
    assert said("gpu", lost).seen == "1 x H100, driver 580.65, CUDA 13.0"
