"""What this machine has for models: host memory by its control group, disk by the file system of the images, GPUs by NVML."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import pynvml

from llmux.server._capacity import Found, Quantity
from llmux.server._gpu_names import VISIBLE, Here, index_of
from llmux.server._nvml import GONE, opened

_NO_LIMIT = 1 << 60
"""A control group of version 1 without a limit has the most pages that fit a signed long (kernel: PAGE_COUNTER_MAX)."""


def look(images_dir: Path, environ: Mapping[str, str] = os.environ) -> Found:
    """Return what is here; `images_dir` is where checkpoints are, or will be."""
    return Found(_host_memory(Path("/")), _disk(images_dir), *_gpus(environ))


# ---- host memory ----


def _host_memory(root: Path) -> Quantity:
    """Return the smallest of the machine's memory and the limits of our control group and those above it."""
    total = Quantity(_mem_total(root / "proc/meminfo"), "the machine's memory")
    groups = (Quantity(limit, f"the control group's limit, {path}") for limit, path in limits(root))
    return min((total, *groups), key=lambda each: each.amount)


def _mem_total(meminfo: Path) -> int:
    fields = (line.split() for line in meminfo.read_text("ascii").splitlines())
    return next(int(words[1]) * 1024 for words in fields if words[0] == "MemTotal:")


def limits(root: Path) -> Iterator[tuple[int, Path]]:
    """Yield the limits of our control group and those above it, each with its file."""
    for path in _limit_files(root):
        try:
            text = path.read_text("ascii").strip()
        except (
            OSError
        ):  # the group is shown by its path outside this container, or its file system is not mounted
            continue
        if text != "max" and int(text) < _NO_LIMIT:
            yield int(text), path


def _limit_files(root: Path) -> Iterator[Path]:
    """Yield where the limits of our control groups are, up to the topmost one that is seen here (man 7 cgroups)."""
    mounts, groups = root / "sys/fs/cgroup", root / "proc/self/cgroup"
    if not groups.exists():  # a kernel without control groups
        return
    for line in groups.read_text("utf-8", "surrogateescape").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            found = (mounts, "memory.max")
        elif "memory" in controllers.split(","):
            found = (mounts / "memory", "memory.limit_in_bytes")
        else:
            continue
        for each in (PurePosixPath(group), *PurePosixPath(group).parents):
            yield found[0] / str(each).lstrip("/") / found[1]


# ---- disk ----


def _disk(images_dir: Path) -> Quantity:
    """Return what checkpoints may take there: what is free, and what they take already."""
    there = next(path for path in (images_dir, *images_dir.parents) if path.is_dir())
    facts = os.statvfs(there)
    taken = sum(_sizes(images_dir)) if there == images_dir else 0
    return Quantity(facts.f_bavail * facts.f_frsize + taken, f"the space for {images_dir}")


def _sizes(directory: Path) -> Iterator[int]:
    """Yield what each file takes on disk; what goes away meanwhile takes nothing."""
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                facts = (Path(where) / name).lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(facts.st_mode):
                yield facts.st_blocks * 512


# ---- GPUs ----


def _gpus(
    environ: Mapping[str, str],
) -> tuple[Mapping[int, int], str, Mapping[int, str], Mapping[int, str]]:
    """Return each GPU's memory by its index, why there is none or which do not answer, those that are lost, and the UUIDs."""
    with opened() as missing:
        if missing:
            return {}, missing, {}, {}
        try:
            found, silent = _answering(range(int(pynvml.nvmlDeviceGetCount())))
        except pynvml.NVMLError as error:
            return {}, str(error), {}, {}
    lost = [index for index, error in silent.items() if error.value in GONE]
    uuids = {index: uuid for index, (uuid, _) in found.items()}
    visible = environ.get(VISIBLE)
    seen = _visible({**uuids, **dict.fromkeys(lost, "")}, visible)
    none = "" if seen else _none_because(found, visible)
    return (
        {index: memory for index, (_, memory) in found.items() if index in seen},
        ", ".join(f"GPU {index}: {error}" for index, error in silent.items()) or none,
        {index: str(silent[index]) for index in lost if index in seen},
        {index: uuid for index, uuid in uuids.items() if index in seen},
    )


def _none_because(found: Collection[int], visible: str | None) -> str:
    if not found:
        return "NVML finds none"
    parts = ", but parts of some (MIG), which are not counted" if visible and "MIG-" in visible else ""
    return f"{VISIBLE} names none of them{parts}"


def _answering(
    indexes: Iterable[int],
) -> tuple[Mapping[int, tuple[str, int]], Mapping[int, pynvml.NVMLError]]:
    """Return the GPUs that answer, each with its UUID and memory, and why others do not."""
    found, silent = {}, {}
    for index in indexes:
        try:
            found[index] = _gpu(index)
        except pynvml.NVMLError as error:
            silent[index] = error
    return found, silent


def _gpu(index: int) -> tuple[str, int]:
    """Return a GPU's UUID and its memory."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    return str(pynvml.nvmlDeviceGetUUID(handle)), int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)


def _visible(here: Here, wanted: str | None) -> frozenset[int]:
    """Return the indexes that CUDA_VISIBLE_DEVICES lets programs see: by index or by the beginning of a UUID."""
    if wanted is None:
        return frozenset(here)
    found = (index_of(name.strip(), here) for name in wanted.split(","))
    return frozenset(index for index in found if index is not None)
