"""The GPUs that an engine had and those that it is to have, and the driver's map of the ones to the others. Pure.

A map names every GPU that was there, those that CUDA_VISIBLE_DEVICES keeps from the engine too: to one of its own GPUs alone the driver answers
CUDA_ERROR_INVALID_VALUE (NVIDIA/cuda-checkpoint's issue 35, NVIDIA/cuda-python's 1983). GPUs of another kind it refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from llmux.server._gpu_names import ORDER, VISIBLE, index_of
from llmux.server.cuda._command import Pair
from llmux.server.cuda.errors import GpusDiffer

CHOICE = frozenset({VISIBLE, ORDER})
"""The variables that say which GPUs a process has: a map takes it from some to others, so that they make no other start."""
_PREFIX = "GPU-"
_MEND_NUMBER = "Give the model as many GPUs as it had (resources.gpus, or CUDA_VISIBLE_DEVICES)"
_MEND_CONTAINER = "Give each container its models' GPUs and no others (docker run --gpus), as many as there were: the driver maps all or none"
_MEND_KIND = "Give the model GPUs of the kind that it had (`nvidia-smi -L`)"
_MEND_UNKNOWN = "Give the container NVML (--gpus all has it), or the model the GPUs that it had"


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    uuid: str
    """As NVML tells it: GPU-..."""
    kind: str
    """Its model's name, by NVML."""


@dataclass(frozen=True)
class Devices:
    """The GPUs that are there, and which of them an engine sees."""

    here: tuple[Gpu, ...] = ()
    """All, in NVML's order; none where NVML does not tell."""
    visible: str | None = None
    """The engine's CUDA_VISIBLE_DEVICES."""
    taken: Mapping[str, int] = field(default_factory=dict)
    """What its processes had on each, in bytes by its UUID, as far as it is known."""

    @property
    def seen(self) -> tuple[Gpu, ...]:
        """Those that the engine sees, in its own order: CUDA takes no notice of what follows a name of none."""
        if self.visible is None:
            return self.here
        here = {index: gpu.uuid for index, gpu in enumerate(self.here)}
        found: list[int] = []
        for name in self.visible.split(","):
            index = index_of(name.strip(), here)
            if index is None or index in found:
                break
            found.append(index)
        return tuple(self.here[index] for index in found)


def device_map(had: Devices, now: Devices) -> tuple[Pair, ...]:
    """Return the map by which what has left the one comes back to the other; none where each stays. Raises GpusDiffer."""
    if not had.here or not now.here:
        _check_same_names(had, now)
        return ()
    if had.seen == now.seen and set(had.here) <= set(now.here):
        return ()
    _check_numbers(had, now)
    return tuple(
        Pair(_uuid(old), _uuid(new)) for old, new in (*_seen_pairs(had, now), *_other_pairs(had, now))
    )


def moved(taken: Mapping[str, int], pairs: tuple[Pair, ...]) -> Mapping[str, int]:
    """Return what is taken of each GPU once the map has been followed."""
    becomes = {f"{_PREFIX}{pair.old}": f"{_PREFIX}{pair.new}" for pair in pairs}
    return {becomes.get(uuid, uuid): size for uuid, size in taken.items()}


def words_of(pairs: tuple[Pair, ...]) -> str:
    """Return a map as cuda-checkpoint's command line has it."""
    return ",".join(f"{_PREFIX}{pair.old}={_PREFIX}{pair.new}" for pair in pairs)


def _check_same_names(had: Devices, now: Devices) -> None:
    if had.visible != now.visible:
        reason = (
            f"NVML does not tell which those are that {VISIBLE} names: {had.visible}, and now {now.visible}"
        )
        raise GpusDiffer(reason, hint=_MEND_UNKNOWN)


def _check_numbers(had: Devices, now: Devices) -> None:
    if len(had.seen) != len(now.seen):
        reason = f"it had {len(had.seen)}, and is to have {len(now.seen)}"
        raise GpusDiffer(reason, hint=_MEND_NUMBER)
    if len(had.here) > len(now.here):
        reason = f"{len(had.here)} were where it left them, and {len(now.here)} are here"
        raise GpusDiffer(reason, hint=_MEND_CONTAINER)


def _seen_pairs(had: Devices, now: Devices) -> Iterator[tuple[Gpu, Gpu]]:
    for old, new in zip(had.seen, now.seen, strict=True):
        if old.kind != new.kind:
            reason = f"{old.uuid} was one of {old.kind}, and {new.uuid} is one of {new.kind}"
            raise GpusDiffer(reason, hint=_MEND_KIND)
        yield old, new


def _other_pairs(had: Devices, now: Devices) -> Iterator[tuple[Gpu, Gpu]]:
    """Yield pairs of those that it did not see: each stays where it can, and first of all."""
    free = [gpu for gpu in now.here if gpu not in now.seen]
    others = [gpu for gpu in had.here if gpu not in had.seen]
    for old in sorted(others, key=lambda gpu: gpu not in free):
        new = old if old in free else next((gpu for gpu in free if gpu.kind == old.kind), None)
        if new is None:
            reason = f"{old.uuid}, which was there too, was one of {old.kind}, and none of that kind is left for it"
            raise GpusDiffer(reason, hint=_MEND_CONTAINER)
        free.remove(new)
        yield old, new


def _uuid(gpu: Gpu) -> UUID:
    try:
        return UUID(gpu.uuid.removeprefix(_PREFIX))
    except ValueError:
        reason = f"{gpu.uuid} is no UUID of a whole GPU"
        raise GpusDiffer(reason, hint=_MEND_KIND) from None
