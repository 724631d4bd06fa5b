"""What a GPU does to the engines on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from llmux.server.errors import ServerError


@dataclass(eq=False)
class GpuFailed(ServerError):
    """A GPU has had an error that the engines on it do not outlive; new ones can run there."""

    gpu: int
    how: str

    def what(self) -> str:
        return f"GPU {self.gpu} has had a critical error: {self.how}"


@dataclass(eq=False)
class GpuLost(ServerError):
    """A GPU cannot be used any more, by nobody."""

    gpu: int
    how: str

    def what(self) -> str:
        return f"GPU {self.gpu} is lost: {self.how}"


def failed(gpu: int, how: str) -> GpuFailed:
    """Return the error with what to do."""
    hint = "The next request starts the model again; `dmesg | grep Xid` says more, and where it comes again: nvidia-smi -q -d ECC,PAGE_RETIREMENT"
    return GpuFailed(gpu, how, hint=hint)


def lost(gpu: int, how: str) -> GpuLost:
    """Return the error with what to do."""
    hint = (
        f"`dmesg | grep Xid` says more. Stop llmux and whoever else uses the GPU, run `nvidia-smi --gpu-reset -i {gpu}` "
        "(where that fails, reboot), and start llmux again; models on other GPUs serve meanwhile"
    )
    return GpuLost(gpu, how, hint=hint)
