"""What the node has, and what each replica takes of it awake and asleep: from the configuration, what is found, what is measured.

The names of the amounts are those of `scheduling.snapshot`. Pure: `_node` finds, and the driver measures.

    capacity(config, found) -> Amounts               configured values win
    placement(config, found) -> GPUs of each replica counts become indexes, so that as many as can be are awake together
    sizes(config, found, measured) -> Sizes of each replica
    faults(config, found)                            what can never fit, each with the path to its field
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmux.server._gpu_names import VISIBLE, Here, parse
from llmux.server._model import Process, Weights
from llmux.server._rules import Sizes
from llmux.server.config import Config, ModelConfig, replica_names
from llmux.server.scheduling.amounts import plus, short
from llmux.server.scheduling.snapshot import Amounts

AWAKE, HOST_MEMORY, DISK = "awake", "host_memory", "disk"
_HOST_RESERVE = 2 << 30
_ANY_GPU = 80 << 30
"""What a lost GPU is counted as where no other is there to go by."""
_DISK_RESERVE = 10 << 30


def gpu_memory(index: int) -> str:
    """Return the name of one GPU's memory among the amounts."""
    return f"gpu_memory:{index}"


def exclusive(group: str) -> str:
    """Return the name among the amounts of what one model of a group has at a time."""
    return f"exclusive:{group}"


@dataclass(frozen=True)
class Quantity:
    """So many bytes, and where that was found."""

    amount: int
    source: str


@dataclass(frozen=True)
class Found:
    """What the machine has."""

    host_memory: Quantity
    disk: Quantity
    gpus: Mapping[int, int] = field(default_factory=dict)
    """Each GPU's memory, by its index."""
    no_gpu: str = ""
    """Why there is none, or which do not answer."""
    lost: Mapping[int, str] = field(default_factory=dict)
    """The GPUs that are there and lost, each with why: what is for them fails, and is served again once they are back."""
    uuids: Mapping[int, str] = field(default_factory=dict)
    """The GPUs' UUIDs, by their indexes, as far as they are known."""


@dataclass(frozen=True)
class Measured:
    """What a replica was seen to take; None where it was not looked at yet. By replica, kept over restarts."""

    host_memory: int | None = None
    host_memory_asleep: int | None = None
    gpu_memory_asleep: int | None = None
    """Of each of its GPUs."""
    disk: int | None = None


_NOTHING = Measured()


# ---- what the node has ----


def capacity(config: Config, found: Found) -> dict[str, int]:
    """Return what there is for models."""
    amounts = {HOST_MEMORY: _host_memory(config, found).amount, DISK: _disk(config, found).amount}
    amounts |= {gpu_memory(index): memory for index, memory in _gpus(config, found).items()}
    amounts |= {exclusive(group): 1 for group in config.exclusive}
    return amounts if config.max_awake is None else {**amounts, AWAKE: config.max_awake}


def told(config: Config, found: Found) -> tuple[str, ...]:
    """Return the same in words, for the log."""
    gpus = _gpus(config, found)
    listed = ", ".join(f"{index}: {size(memory)}" for index, memory in sorted(gpus.items()))
    host, disk = _host_memory(config, found), _disk(config, found)
    return (
        f"host memory for engines: {size(host.amount)} ({host.source})",
        f"disk for checkpoints: {size(disk.amount)} ({disk.source})",
        f"{f'GPUs: {listed}' if gpus else 'no GPU'}{f' ({found.no_gpu})' if found.no_gpu else ''}",
    )


def size(amount: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, bits in (("TiB", 40), ("GiB", 30), ("MiB", 20)):
        if amount >= 1 << bits:
            return f"{amount / (1 << bits):.4g} {unit}"
    return f"{amount} bytes"


def _host_memory(config: Config, found: Found) -> Quantity:
    said = config.resources
    if said.host_memory is not None:
        return Quantity(said.host_memory, "resources.host_memory")
    return _less(found.host_memory, said.host_memory_reserve, found.host_memory.amount // 8, _HOST_RESERVE)


def _disk(config: Config, found: Found) -> Quantity:
    said = config.resources
    if said.disk is not None:
        return Quantity(said.disk, "resources.disk")
    return _less(found.disk, said.disk_reserve, found.disk.amount // 20, _DISK_RESERVE)


def _less(found: Quantity, said: int | None, part: int, most: int) -> Quantity:
    reserve = min(part, most) if said is None else said
    return Quantity(max(0, found.amount - reserve), f"{found.source}, less {size(reserve)}")


def _gpus(config: Config, found: Found) -> Mapping[int, int]:
    """Return each GPU's memory; a lost one tells none, and is as large as the others, since a node's mostly are."""
    if config.resources.gpus is not None:
        return config.resources.gpus
    like_others = max(found.gpus.values(), default=_ANY_GPU)
    return dict(sorted({**dict.fromkeys(found.lost, like_others), **found.gpus}.items()))


def _here(gpus: Mapping[int, int], found: Found) -> Here:
    return {index: found.uuids.get(index, "") for index in gpus}


# ---- which GPUs a replica has ----


Placement = Mapping[str, tuple[int, ...]]
"""Each replica's GPUs, by its name."""


def placement(config: Config, found: Found, kept: Placement | None = None) -> dict[str, tuple[int, ...]]:
    """Return each replica's GPUs.

    Indexes that are said stay; where a count is said, those that a replica has stay (`kept`), and then the largest
    replicas choose first, each the GPUs of which the smallest part is spoken for, those that are lost last.
    GPUs that are not here are left out.
    """
    gpus = _gpus(config, found)
    load = dict.fromkeys(gpus, 0.0)
    placed: dict[str, tuple[int, ...]] = {}
    wishes = _wishes(config, gpus, _here(gpus, found), kept or {})
    for wish in sorted(wishes, key=lambda wish: (not wish.said, -wish.part, wish.replica)):
        rest = sorted(gpus, key=lambda index: (index in found.lost, load[index], index))
        chosen = wish.said or tuple(sorted(rest[: wish.count]))
        placed[wish.replica] = tuple(index for index in chosen if index in gpus)
        for index in placed[wish.replica]:
            load[index] += _taken(wish.model, gpus[index]) / gpus[index]
    return placed


@dataclass(frozen=True)
class _Wish:
    replica: str
    model: ModelConfig
    count: int
    said: tuple[int, ...]
    """The indexes, where they are said, or it has so many already."""
    part: float
    """Of all GPUs' memory."""


def _wishes(config: Config, gpus: Mapping[int, int], here: Here, kept: Placement) -> Iterable[_Wish]:
    for name, model in config.models.items():
        count = model.gpu_count(here)
        largest = max(gpus.values(), default=1)
        for number, replica in enumerate(replica_names(name, model.replicas)):
            had = kept.get(replica, ())
            stays = len(had) == count and gpus.keys() >= set(had)
            said = model.gpus_of_replica(number, here) or (had if stays else ())
            yield _Wish(replica, model, count, said, count * _taken(model, largest) / largest)


def _taken(model: ModelConfig, memory: int) -> int:
    """Return what a replica takes of a GPU with so much memory."""
    said = model.resources.gpu_memory
    return said if said is not None else int(memory * model.gpu_memory_fraction())


# ---- what a replica takes ----


def sizes(
    config: Config, found: Found, measured: Mapping[str, Measured], kept: Placement | None = None
) -> dict[str, Sizes]:
    """Return what each replica takes; of host memory and disk nothing where that is neither said nor measured yet."""
    placed, gpus = placement(config, found, kept), _gpus(config, found)
    groups = {
        name: {exclusive(group): 1 for group, members in config.exclusive.items() if name in members}
        for name in config.models
    }
    return {
        replica: _sizes(
            model,
            {index: _taken(model, gpus[index]) for index in placed[replica]},
            groups[name],
            measured.get(replica, _NOTHING),
        )
        for name, model in config.models.items()
        for replica in replica_names(name, model.replicas)
    }


def _sizes(model: ModelConfig, gpus: Mapping[int, int], groups: Amounts, measured: Measured) -> Sizes:
    if not model.runs_here:
        return Sizes()
    said = model.resources
    host = _first(said.host_memory, measured.host_memory)
    on_gpus = {gpu_memory(index): taken for index, taken in gpus.items()}
    awake = {AWAKE: 1, **groups, **on_gpus, **_known(HOST_MEMORY, host)}
    weights = Weights(model.eviction.weights)
    kept_there = sum(gpus.values()) if weights is not Weights.DISCARD else 0
    left = _first(said.gpu_memory_asleep, measured.gpu_memory_asleep) or 0
    asleep_on_gpus = on_gpus if weights is Weights.RETAIN else dict.fromkeys(on_gpus, left)
    moved = kept_there if weights is Weights.OFFLOAD else 0
    stated = _first(said.host_memory_asleep, measured.host_memory_asleep)
    return Sizes(
        awake,
        {
            Process.KEEP_RUNNING: {**asleep_on_gpus, **_known(HOST_MEMORY, stated, _sum(host, moved))},
            Process.CUDA_SUSPEND: _known(HOST_MEMORY, stated, _sum(host, kept_there or left * len(gpus))),
            Process.CHECKPOINT: _known(DISK, _first(said.disk, measured.disk), _sum(host, kept_there)),
            Process.STOP: {},
        },
    )


def _first(*amounts: int | None) -> int | None:
    return next((each for each in amounts if each is not None), None)


def _sum(one: int | None, other: int) -> int | None:
    return None if one is None else one + other


def _known(name: str, *amounts: int | None) -> dict[str, int]:
    """Return the first amount that is known under this name; nothing where none is."""
    amount = _first(*amounts)
    return {} if amount is None else {name: amount}


# ---- what can never fit ----


def faults(config: Config, found: Found, measured: Mapping[str, Measured] | None = None) -> tuple[str, ...]:
    """Return what this node can never hold, each with the path to its field and what to do."""
    gpus = _gpus(config, found)
    all_sizes, room = sizes(config, found, measured or {}), capacity(config, found)
    alone = (*_missing_gpus(config, gpus, found), *_too_large(config, all_sizes, room))
    return alone or tuple(_beside_pinned(config, all_sizes, room))


def _missing_gpus(config: Config, gpus: Mapping[int, int], found: Found) -> Iterable[str]:
    has = f"has GPUs {', '.join(map(str, sorted(gpus)))}" if gpus else "has no GPU"
    why = f" ({found.no_gpu})" if found.no_gpu and config.resources.gpus is None else ""
    here = _here(gpus, found)
    for name, model in config.models.items():
        visible = model.visible
        path = f"models.{name}.{'resources.gpus' if visible is None else f'env.{VISIBLE}'}"
        said = model.gpus(here)
        if isinstance(said, tuple) and (unknown := [index for index in said if index not in gpus]):
            yield f"{path}: GPU {', '.join(map(str, unknown))} is not here: this node {has}{why}; name others, or say how many"
        elif (
            visible is not None and found.uuids and not found.lost and (names := parse(visible).unknown(here))
        ):
            yield f"{path}: {', '.join(names)} is the beginning of no GPU's UUID here, or of several; `nvidia-smi -L` lists them"
        elif (count := model.gpu_count(here)) > len(gpus):
            yield f"{path}: needs {count}, and this node {has}{why}; ask for fewer (in extra_args too), or say resources.gpus"


def _too_large(config: Config, all_sizes: Mapping[str, Sizes], room: Amounts) -> Iterable[str]:
    for name, model in config.models.items():
        taken = all_sizes[name]
        for what, lacking in short(taken.awake, room).items():
            yield _told_short(name, what, taken.awake[what], lacking, "awake")
        asleep = taken.when(model.eviction.eviction())
        for what, lacking in short(asleep, room).items():
            if what not in taken.awake or asleep[what] > taken.awake[what]:
                yield _told_short(name, what, asleep[what], lacking, "asleep")


_FIELDS = {HOST_MEMORY: "host_memory", DISK: "disk"}


def _told_short(name: str, what: str, wanted: int, lacking: int, when: str) -> str:
    have = wanted - lacking
    where = _FIELDS.get(what, "gpu_memory")
    field_name = "host_memory_asleep" if (when, what) == ("asleep", HOST_MEMORY) else where
    top = "resources.gpus" if where == "gpu_memory" else f"resources.{where}"
    thing = what.replace("_", " ").replace("gpu memory:", "memory of GPU ")
    return (
        f"models.{name}.resources.{field_name}: {when} it takes {size(wanted)} of {thing}, and there are {size(have)} for engines; "
        f"give it less, or say more in {top} if there is more"
    )


def _beside_pinned(config: Config, all_sizes: Mapping[str, Sizes], room: Amounts) -> Iterable[str]:
    """Yield what could never be awake because pinned models always are."""
    pinned = [name for name, model in config.models.items() if model.pinned]
    held = plus({}, *(all_sizes[each].awake for name in pinned for each in _replicas(name, config)))
    bounded = {what: held.get(what, 0) for what in room}
    if lacking := short(bounded, room):
        yield f"models: {', '.join(pinned)} are pinned and do not fit together: {_told_lack(lacking)} is lacking; unpin some"
        return
    for name, model in config.models.items():
        lacking = short(plus(held, all_sizes[name].awake), room)
        if not model.pinned and lacking:
            yield (
                f"models.{name}: could never be awake beside what is pinned ({', '.join(pinned)}): "
                f"{_told_lack(lacking)} is lacking; unpin some, or give them less"
            )


def _replicas(name: str, config: Config) -> tuple[str, ...]:
    return replica_names(name, config.models[name].replicas)


def _told_lack(lacking: Amounts) -> str:
    return ", ".join(
        f"{amount if what == AWAKE or what.startswith('exclusive:') else size(amount)} of {what}"
        for what, amount in lacking.items()
    )
