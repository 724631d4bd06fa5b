"""What of a dump belongs to the node's NVIDIA driver rather than to the container, and what the driver says of itself. Pure.

The driver's libraries must be of the same version as its kernel module, so the container's runtime mounts the node's own into each container that gets a GPU
(libnvidia-container, CDI); they bear that version in their names. CRIU's CUDA plugin (plugins/cuda) has no hook for files and mappings of devices: what it dumps
is a process that the driver has made let go of them, with the libraries mapped as before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmux.criu_images._paths import RawPath

CUDA_PLUGIN = "cuda_plugin"
"""The name by which CRIU's inventory has the plugin."""

_LIBRARY = re.compile(
    rb"/(?:.*/)?lib(cuda|cudadebugger|nvcuvid|nvoptix|nvidia-[a-z0-9-]+|(?:GLX|EGL|GLESv1_CM|GLESv2|vdpau)_nvidia)"
    rb"\.so\.(\d{3,}\.\d+(?:\.\d+)?)",
    re.DOTALL,
)
"""Those that libnvidia-container mounts. What has such a name and a lesser version (libnvidia-egl-gbm.so.1.1.2) comes with the image."""
_MADE = re.compile(rb"/(?:dev|proc/driver)/nvidia[^/]*(?:/.*)?", re.DOTALL)
"""nvidia0, nvidiactl, nvidia-uvm, nvidia-caps/nvidia-cap1, nvidia-caps-imex-channels/channel0, ...; nvidia/gpus/BUS/information, nvidia-uvm/..."""
# "Kernel Module  570.86.15  Thu Jan", and of the open ones "Open Kernel Module for x86_64  580.65.06  Release Build"
_VERSION = re.compile(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)(?:\s|\Z)")
_UNTOLD = "?"
"""The driver writes question marks for a UUID that it does not tell."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as the driver names it (/proc/driver/nvidia/gpus/*/information)."""

    model: str
    """Its kind, `NVIDIA H100 80GB HBM3`; empty where the driver does not say."""
    uuid: str
    """`GPU-...`; empty where the driver does not say."""


@dataclass(frozen=True, slots=True)
class NvidiaDriver:
    """A node's driver, and the GPUs that the container sees."""

    version: str
    gpus: tuple[Gpu, ...] = ()

    def __str__(self) -> str:
        gpus = ", ".join(f"{gpu.model or 'unnamed GPU'} ({gpu.uuid or 'no UUID'})" for gpu in self.gpus)
        return f"{self.version}, {gpus}" if gpus else self.version


def library_version(path: RawPath) -> str | None:
    """Return the version in the name of one of the driver's libraries; None for any other file."""
    found = _library(path)
    return None if found is None else found[2].decode()


def is_cuda(path: RawPath) -> bool:
    """Tell whether it is libcuda itself: who has that mapped may have state on GPUs."""
    found = _library(path)
    return found is not None and found[1] == b"cuda"


def _library(path: RawPath) -> re.Match[bytes] | None:
    # A large dump has a hundred thousand paths, and none of these words in them.
    raw = bytes(path)
    return _LIBRARY.fullmatch(raw) if b"nv" in raw or b"cuda" in raw else None


def is_made_by_driver(path: RawPath) -> bool:
    """Tell whether it is one of the driver's devices, or of its files in /proc."""
    return _MADE.fullmatch(path) is not None


def parse_version(text: str) -> str:
    """Return the version of the loaded module, as /proc/driver/nvidia/version has it; its first line where that has no number."""
    found = _VERSION.search(text)
    return found[1] if found else text.partition("\n")[0].strip()


def parse_gpu(text: str) -> Gpu:
    """Return the GPU that /proc/driver/nvidia/gpus/BUS/information tells of."""
    pairs = (line.partition(":") for line in text.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    model, uuid = fields.get("Model", ""), fields.get("GPU UUID", "")
    return Gpu("" if model == "Unknown" else model, "" if _UNTOLD in uuid else uuid)
