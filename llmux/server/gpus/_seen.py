"""What NVML says of GPUs, and whose memory that is, as values. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class User:
    """A process that has something on a GPU."""

    pid: int
    """As NVML gives it; that may be in another PID namespace."""
    memory: int | None
    """In bytes; None: NVML does not tell."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that answers."""

    index: int
    uuid: str
    name: str
    memory: int
    used: int
    users: tuple[User, ...] | None = None
    """None: NVML does not tell, as under MIG."""


@dataclass(frozen=True)
class Sight:
    """All GPUs at one moment."""

    gpus: tuple[Gpu, ...] = ()
    at: float = 0.0
    """Since the epoch; 0: NVML has not answered yet."""
    shares: Mapping[str, Mapping[int, int] | None] = field(default_factory=dict)
    """The bytes that each engine's processes have, by GPU; None: NVML does not tell."""
    others: Mapping[int, int | None] = field(default_factory=dict)
    """The bytes that other processes have of each GPU; None: NVML does not tell."""


def shares(
    gpus: Iterable[Gpu], trees: Mapping[str, Collection[int]], here: Collection[int]
) -> Mapping[str, Mapping[int, int] | None]:
    """Return the bytes that each tree of processes has on each GPU, where it has any; None where that is not known.

    `here` are the processes that are seen at all: where NVML names others, they may be these by the ids of another PID namespace.
    """
    gpus = tuple(gpus)
    blind = any(gpu.users is None or any(user.pid not in here for user in gpu.users) for gpu in gpus)
    return {name: _share(gpus, tree, blind=blind) for name, tree in trees.items()}


def _share(gpus: Iterable[Gpu], tree: Collection[int], *, blind: bool) -> Mapping[int, int] | None:
    found: dict[int, int] = {}
    for gpu in gpus:
        for user in gpu.users or ():
            if user.pid in tree:
                if user.memory is None:
                    return None
                found[gpu.index] = found.get(gpu.index, 0) + user.memory
    return None if blind and not found else found


def others(gpus: Iterable[Gpu], ours: Collection[int]) -> Mapping[int, int | None]:
    """Return the bytes that processes which are not `ours` have on each GPU; None where that is not known."""
    return {gpu.index: _of_others(gpu, ours) for gpu in gpus}


def _of_others(gpu: Gpu, ours: Collection[int]) -> int | None:
    if gpu.users is None:
        return None
    sizes = [user.memory for user in gpu.users if user.pid not in ours]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
