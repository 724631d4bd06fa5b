"""Where the journals lie: one for each dump and mount namespace, so that restores of one dump side by side do not mix theirs."""

from __future__ import annotations

import os
from pathlib import Path

from llmux.criu_images._observe import has_private_mounts
from llmux.criu_images.errors import JournalInvalid

DEFAULT_DIRECTORY = Path("/run/llmux/journals")


def own_journal(seal: str) -> Path:
    """Return where the rebuild of a manifest's dump in this mount namespace keeps its journal unless the caller says otherwise.

    `_hook.py` has the same name, without the imports.
    """
    namespace = Path("/proc/self/ns/mnt").readlink().name.strip("mnt:[]")
    return DEFAULT_DIRECTORY / f"{seal}.{namespace}.json"


def find_journal(seal: str) -> Path:
    """Return the journal that an undo or a finish called from here is about: this namespace's own, or else the only one there is.

    A restore may have run in a namespace of its own that has ended, or that the caller is not in. Within such a namespace only its own counts,
    since another may be under way beside it. Raises JournalInvalid where there are several.
    """
    own = own_journal(seal)
    if own.exists() or has_private_mounts():
        return own
    others = sorted(DEFAULT_DIRECTORY.glob(f"{seal}.*.json"))
    if len(others) > 1:
        raise JournalInvalid(
            os.fsencode(DEFAULT_DIRECTORY / f"{seal}.*.json"),
            f"{len(others)} restores of this dump are not finished, each in a mount namespace of its own",
            hint="Run this in the one that is meant, or name its journal with --journal",
        )
    return others[0] if others else own
