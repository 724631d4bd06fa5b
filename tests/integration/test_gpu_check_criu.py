"""gpu-check's dump and restore by real CRIU, in a container, of a process with CUDA state of the stand-in for NVIDIA's driver."""

from __future__ import annotations

from uuid import UUID

import pytest

from llmux_setup import stand_in
from llmux_setup.paths import ROOT
from proof.bench import Bench
from proof.containers import Mount, Run, started
from stand_in_driver.nvml import GIB, SAID

pytestmark = pytest.mark.docker

SOURCE, LIBRARIES, NVML, DRIVER = "/src", "/stand-in/driver", "/stand-in/nvml", "/driver"
ENVIRONMENT = (
    f"PYTHONPATH={SOURCE}/docker",
    f"LD_LIBRARY_PATH={LIBRARIES}:{NVML}",
    f"LLMUX_STAND_IN_CUDA={DRIVER}",
    f"{SAID}={DRIVER}/nvml",
    "LLMUX_GPU_CHECK_STAND_IN=1",
)
CHECK = ("/opt/llmux/bin/python", "-m", "gpu_check", "--rounds", "2", "--bytes", "3000000", "--only", "criu")


def test_a_suspended_process_is_dumped_and_restored_and_goes_on(desk: Bench) -> None:
    stand_in.build()
    mounts = (
        *(Mount(ROOT / name, f"{SOURCE}/{name}", read_only=True) for name in ("docker", "llmux")),
        Mount(stand_in.DRIVER, LIBRARIES, read_only=True),
        Mount(stand_in.NVML, NVML, read_only=True),
    )
    with started(Run(desk.image, mounts, command=("sleep", "600")), "gpu-check") as container:
        container.exec("mkdir", DRIVER)
        container.exec("sh", "-c", f"echo gpu 0 GPU-{UUID(int=0)} {GIB} 0 >{DRIVER}/nvml")
        done = container.attempt("env", *ENVIRONMENT, *CHECK, timeout=300)
        assert done.code == 0, done.output + done.errors
        assert "STAND-IN, no GPU: passed: 1 of 11" in done.output
        calls = container.exec("cat", f"{DRIVER}/log").split()[::3]
        assert calls == ["lock", "checkpoint", "restore", "unlock"] * 2
