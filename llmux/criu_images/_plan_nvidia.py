"""Whether NVIDIA's driver and GPUs here are such that a process with CUDA state comes back.

Nothing of the driver is ever made: its libraries fit one version of its kernel module alone, and what a process has on a GPU comes back on that kind of GPU
alone (NVIDIA's cuda-checkpoint: "GPU type and order"). Which GPU of the kind it is, a device map decides (driver 580 and newer).
"""

from __future__ import annotations

from collections.abc import Iterator

from llmux.criu_images._actions import Conflict
from llmux.criu_images._counted import counted
from llmux.criu_images._facts import Facts
from llmux.criu_images._messages_files import FILE_MISSING
from llmux.criu_images._nvidia import NvidiaDriver, is_made_by_driver
from llmux.criu_images._paths import escape
from llmux.criu_images.manifest import Manifest, Origin

_GIVE = "give the container its GPUs (docker run --gpus all)"


def driver_conflicts(manifest: Manifest, facts: Facts) -> Iterator[Conflict]:
    """Yield a conflict where the driver is another one, or none: then nothing of it can be as in the dump."""
    wanted, here = manifest.nvidia, facts.nvidia
    if wanted is None or (here is not None and here.version == wanted.version):
        return
    found = "none here" if here is None else f"{here.version} here"
    yield Conflict(
        "NVIDIA driver",
        f"{found}, and the dump was made with {wanted.version}",
        _said(manifest),
        f"Restore on a node with NVIDIA's driver {wanted.version}, and {_GIVE}; or start the program anew and dump it here.",
    )


def _said(manifest: Manifest) -> str | None:
    """Say what CRIU would of the first library; nothing where the dump has none of them open or mapped."""
    names = (file.names[0] for file in manifest.files if file.origin is Origin.NODE)
    first = next(names, None)
    return None if first is None else FILE_MISSING.say(path=escape(first[1:]))


def without_driver(manifest: Manifest) -> Manifest:
    """Return the manifest without what the driver brings: where that is another, one conflict says it all."""
    files = tuple(file for file in manifest.files if file.origin is not Origin.NODE)
    nodes = tuple(node for node in manifest.nodes if not is_made_by_driver(node.path))
    return manifest.model_copy(update={"files": files, "nodes": nodes})


def gpu_conflicts(manifest: Manifest, facts: Facts) -> Iterator[Conflict]:
    """Yield a conflict for each kind of GPU that the dump's node had and that is not here; none where the driver does not name them."""
    wanted, here = manifest.nvidia, facts.nvidia
    if wanted is None or here is None or not all(gpu.model for gpu in here.gpus):
        return
    for kind in sorted(_kinds(wanted) - _kinds(here)):
        yield Conflict(
            f"GPU {kind}",
            f"none here ({', '.join(sorted(_kinds(here))) or 'the container sees no GPU'})",
            None,
            f"CUDA state comes back on the kind of GPU that it was on: restore on a node with one, and {_GIVE}; or start the program anew and dump it here.",
        )


def _kinds(driver: NvidiaDriver) -> set[str]:
    return {gpu.model for gpu in driver.gpus if gpu.model}


def gpu_warnings(manifest: Manifest, facts: Facts) -> Iterator[str]:
    """Yield how the GPUs here are others of the same kind."""
    wanted, here = manifest.nvidia, facts.nvidia
    if wanted is None or here is None or not wanted.gpus:
        return
    if len(here.gpus) != len(wanted.gpus):
        yield (
            f"{counted(len(here.gpus), 'GPU')} here, the dump's container saw {len(wanted.gpus)}:"
            " without a device map NVIDIA's driver wants as many, in the same order"
        )
    gone = sorted(_uuids(wanted) - _uuids(here)) if _uuids(here) else []
    if gone:
        yield (
            f"{', '.join(gone)} of the dump {'is' if len(gone) == 1 else 'are'} not here: what was there comes back on another GPU of its kind,"
            " by a device map (cuda-checkpoint --device-map, driver 580 or newer)"
        )


def _uuids(driver: NvidiaDriver) -> set[str]:
    return {gpu.uuid for gpu in driver.gpus if gpu.uuid}
