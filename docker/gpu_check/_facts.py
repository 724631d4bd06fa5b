"""What there is on a machine. A text that begins with `no_` says why something is missing, and is empty where it is there. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

STAND_IN = "STAND-IN"
"""How the stand-in driver's GPUs are called (tests/stand_in_driver/cuda_devices.c)."""


@dataclass(frozen=True)
class GpuFact:
    """A GPU as the driver tells it; sizes in bytes."""

    name: str
    uuid: str
    total: int


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver. `cuda` is the newest version it knows, 12080 for 12.8."""

    gpus: tuple[GpuFact, ...] = ()
    no_gpu: str = ""
    version: str = ""
    cuda: int = 0
    checkpoint_api: bool = False
    no_nvml: str = ""

    @property
    def is_stand_in(self) -> bool:
        return any(gpu.name.startswith(STAND_IN) for gpu in self.gpus)


@dataclass(frozen=True)
class Programs:
    """What can be run: each is a path, with the reason where there is none."""

    python: str = ""
    no_python: str = ""
    """One that has llmux's and the tiny engine's packages."""
    torch: str = ""
    no_torch: str = ""
    """A Python whose torch sees a GPU."""
    vllm: str = ""
    no_vllm: str = ""
    criu: str = ""
    no_criu: str = ""
    """CRIU, with the rights to use it."""
    plugin_dir: str = ""
    cuda_checkpoint: str = ""
    """NVIDIA's."""
    docker: str = ""
    no_docker: str = ""
    """Docker, with NVIDIA's runtime."""


@dataclass(frozen=True)
class Facts:
    """All of it. `host_memory` is what may still be taken, in bytes."""

    driver: Driver
    programs: Programs = field(default_factory=Programs)
    root: bool = False
    no_namespaces: str = ""
    """Why no mount and PID namespaces can be had, in which llmux starts its engines."""
    host_memory: int = 0
    kernel: str = ""
    commit: str = ""
