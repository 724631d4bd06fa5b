"""What is seen of GPUs, to findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from llmux.server.doctor._facts import Finding, Gpu, Gpus, GpuUser, Verdict
from llmux.server.doctor._units import size

_FINE, _NOTE, _LACKING = Verdict.FINE, Verdict.NOTE, Verdict.LACKING
_CHECKPOINT_DRIVER = 570
"""The first branch of NVIDIA's driver with the calls of CUDA's checkpoint API (CUDA 12.8)."""


def of_gpus(gpus: Gpus) -> Iterator[Finding]:
    """Yield what all have in common, and then what is so of each."""
    if not gpus.each:
        yield Finding("gpu", _NOTE, f"none ({gpus.none_because})", "On a machine with GPUs: --gpus all")
        return
    names = [gpu.name for gpu in gpus.each if not gpu.problem]
    count = f"{len(names)} x " if len(set(names)) == 1 else ""
    yield Finding(
        "gpu",
        _FINE if names else _LACKING,
        f"{count}{', '.join(dict.fromkeys(names)) or 'none that answers'}, driver {gpus.driver}, CUDA {gpus.cuda}",
    )
    yield from _programs(gpus)
    for gpu in gpus.each:
        yield from _gpu(gpu, gpus)


def _programs(gpus: Gpus) -> Iterator[Finding]:
    if not gpus.checkpoint_api:
        seen = f"driver {gpus.driver} cannot checkpoint processes that use a GPU"
        yield Finding("gpu.checkpoint", _NOTE, seen, _newer(gpus))
    else:
        yield Finding("gpu.checkpoint", _FINE, "CUDA's checkpoint API is there")
    for topic, found, mend in (
        (
            "gpu.plugin",
            gpus.plugin,
            "Build CRIU with its CUDA plugin (make cuda_plugin) and set checkpoint.cuda_plugin_dir",
        ),
        (
            "gpu.cuda_checkpoint",
            gpus.cuda_checkpoint,
            "Install NVIDIA's program cuda-checkpoint and set checkpoint.cuda_checkpoint_path",
        ),
    ):
        yield Finding(topic, _FINE, found) if found else Finding(topic, _NOTE, "not found", mend)


def _newer(gpus: Gpus) -> str:
    branch = int(gpus.driver.partition(".")[0]) if gpus.driver.partition(".")[0].isdigit() else 0
    newer = f"Install NVIDIA's driver {_CHECKPOINT_DRIVER} or newer"
    return newer if branch < _CHECKPOINT_DRIVER else "Give the container libcuda: --gpus all"


# ---- one of them ----


def _gpu(gpu: Gpu, gpus: Gpus) -> Iterator[Finding]:
    topic = f"gpu.{gpu.index}"
    if gpu.problem:
        mend = f"dmesg | grep Xid; end whoever uses it, nvidia-smi --gpu-reset -i {gpu.index} (on the host), or reboot"
        yield Finding(topic, _LACKING, f"it cannot be used: {gpu.problem}", mend)
        return
    api = "has" if gpus.checkpoint_api else "lacks"
    seen = f"{gpu.name}, {size(gpu.memory)}, {gpu.uuid}; its driver, {gpus.driver}, {api} the checkpoint API"
    yield Finding(
        topic, _FINE if gpus.checkpoint_api else _NOTE, seen, "" if gpus.checkpoint_api else _newer(gpus)
    )
    yield from _mig(gpu, f"{topic}.mig")
    yield from _persistence(gpu, f"{topic}.persistence")
    yield from _users(gpu, f"{topic}.users")


def _mig(gpu: Gpu, topic: str) -> Iterator[Finding]:
    if gpu.mig:
        seen = "MIG is on: the driver checkpoints no process there, and tells no process's memory"
        if gpu.mig_pending is False:
            seen = "MIG is on until the GPU is reset"
            yield Finding(topic, _NOTE, seen, f"nvidia-smi --gpu-reset -i {gpu.index} (on the host)")
            return
        mend = f"nvidia-smi -i {gpu.index} -mig 0 (on the host, while nobody uses the GPU)"
        yield Finding(topic, _NOTE, seen, mend)
    elif gpu.mig_pending:
        seen = "MIG is off, and will be on once the GPU is reset"
        yield Finding(topic, _NOTE, seen, f"nvidia-smi -i {gpu.index} -mig 0 (on the host)")
    else:
        yield Finding(topic, _FINE, "MIG is off" if gpu.mig is False else "the GPU knows no MIG")


def _persistence(gpu: Gpu, topic: str) -> Iterator[Finding]:
    if gpu.persistence is False:
        seen = "persistence mode is off: the driver lets go of the GPU whenever nobody uses it, and it may refuse to suspend a process (cuda-checkpoint's issue 25)"
        mend = f"nvidia-smi -i {gpu.index} -pm 1 (on the host; nvidia-persistenced does so at each boot)"
        yield Finding(topic, _NOTE, seen, mend)
    elif gpu.persistence:
        yield Finding(topic, _FINE, "persistence mode is on")


def _users(gpu: Gpu, topic: str) -> Iterator[Finding]:
    if gpu.users is None:
        yield Finding(topic, _NOTE, "the driver does not tell who has its memory", "nvidia-smi (on the host)")
        return
    if not gpu.users:
        yield Finding(topic, _FINE, "nobody but llmux's engines has any of its memory")
        return
    seen = f"others have some of its memory: {', '.join(map(_user, gpu.users))}"
    taken = sum(user.memory or 0 for user in gpu.users)
    rest = f'or say what is left for engines: "resources": {{"gpus": {{"{gpu.index}": {max(0, gpu.memory - taken)}}}}}'
    here = [str(user.pid) for user in gpu.users if user.name]
    end = f"kill {' '.join(here)}" if here else "find and end them on the host: nvidia-smi"
    yield Finding(topic, _NOTE, seen, f"{end}; {rest}" if taken else end)


def _user(user: GpuUser) -> str:
    who = f"{user.pid} ({user.name or 'not seen from here'})"
    return who if user.memory is None else f"{who} {size(user.memory)}"
