"""The GPUs that a CUDA_VISIBLE_DEVICES names. Pure.

Indexes are NVML's, by the PCI bus, as `nvidia-smi` shows them. CUDA counts the fastest first unless CUDA_DEVICE_ORDER is PCI_BUS_ID, which llmux
therefore gives every engine. UUIDs may be cut short, as long as one GPU alone begins so; what follows a name of none CUDA takes no notice of
(CUDA C++ Programming Guide, "CUDA Environment Variables").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
BY_BUS = "PCI_BUS_ID"

Here = Mapping[int, str]
"""The GPUs that are here: each one's UUID by its index, or an empty text where it is not known."""

_NOTHING = frozenset({"", "-1", "NoDevFiles"})
"""How people say that a program is to see none."""
_UUID = re.compile(r"GPU-[0-9a-f][0-9a-f-]{0,35}")
_PART = "MIG-"


class By(Enum):
    """What GPUs are named by."""

    INDEX = "index"
    UUID = "UUID"
    PART = "part"  # of a GPU, by MIG
    NOTHING = "nothing"


@dataclass(frozen=True)
class Named:
    """What a CUDA_VISIBLE_DEVICES names."""

    by: By
    names: tuple[str, ...] = ()

    def found(self, here: Here) -> tuple[int, ...]:
        """Return the indexes of those that are known; an index is, wherever that GPU is."""
        match self.by:
            case By.INDEX:
                return tuple(map(int, self.names))
            case By.UUID:
                indexes = (index_of(name, here) for name in self.names)
                return tuple(index for index in indexes if index is not None)
            case By.PART | By.NOTHING:
                return ()
            case _:
                assert_never(self.by)

    def unknown(self, here: Here) -> tuple[str, ...]:
        """Return the UUIDs that none of the GPUs here has, or of which several have the beginning."""
        return tuple(name for name in self.names if self.by is By.UUID and index_of(name, here) is None)


def index_of(name: str, here: Here) -> int | None:
    """Return the one whole GPU of this index or this beginning of a UUID."""
    if name.isascii() and name.isdecimal():
        return int(name) if int(name) in here else None
    named = [index for index, uuid in here.items() if _UUID.fullmatch(name) and uuid.startswith(name)]
    return named[0] if len(named) == 1 else None


def parse(visible: str) -> Named:
    """Return what a CUDA_VISIBLE_DEVICES names. Raises ValueError where CUDA would see other GPUs than it seems to name."""
    if visible.strip() in _NOTHING:
        return Named(By.NOTHING)
    names = tuple(name.strip() for name in visible.split(","))
    kinds = {_kind(name) for name in names}
    if len(kinds) > 1:
        raise ValueError("names some GPUs by index and some by UUID, or parts of some; name all in one way")
    if len(set(names)) < len(names):
        raise ValueError("names a GPU twice; each once")
    return Named(kinds.pop(), names)


def _kind(name: str) -> By:
    if name.isascii() and name.isdecimal():
        return By.INDEX
    if _UUID.fullmatch(name):
        return By.UUID
    if name.startswith(_PART) and len(name) > len(_PART):
        return By.PART
    raise ValueError(
        f"{name!r} is no GPU, and CUDA would take no notice of what follows it; name them by index (0,1), or by UUID as "
        "`nvidia-smi -L` prints it; -1 is none"
    )
