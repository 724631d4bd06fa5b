"""Where the journals lie: one for each dump and mount namespace, so that restores of one dump side by side do not mix theirs."""

from __future__ import annotations

import os
from pathlib import Path

from llmux.criu_images._journal import OF_TASK
from llmux.criu_images._mount_namespaces import lasting_name
from llmux.criu_images._observe import find_in_mounts, has_private_mounts
from llmux.criu_images.errors import JournalInvalid

DEFAULT_DIRECTORY = Path("/run/llmux/journals")


def own_journal(seal: str, task: int | None = None) -> Path:
    """Return where the rebuild of a manifest's dump in this mount namespace keeps its journal unless the caller says otherwise.

    In namespaces that CRIU makes for the dump it is that of the root `task`. `_hook.py` has the same names, without the imports.
    """
    if task is not None:
        return DEFAULT_DIRECTORY / f"{seal}{OF_TASK}{task}.json"
    return DEFAULT_DIRECTORY / f"{seal}.{lasting_name()}.json"


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


def journal_to_undo(seal: str, root: Path = Path("/")) -> Path:
    """Return the journal as `find_journal`, but none of a mount namespace in which a process lives.

    The tree may run there, and what it uses looks unused from here: its mounts are others, and its sockets those of another network. Once the
    namespace has ended nobody can undo in it any more, and what it has left elsewhere is taken back from here. Raises JournalInvalid.
    """
    journal = find_journal(seal)
    if OF_TASK in journal.name and root.resolve() == Path("/"):
        raise JournalInvalid(
            os.fsencode(journal),
            "its restore is of a tree in mounts of its own, whose paths are others than here",
            hint="Remove the container, or give the tree's root as --root",
        )
    namespace = journal.name.split(".")[-2]
    pid = None if journal == own_journal(seal) else find_in_mounts(namespace)
    if pid is not None:
        raise JournalInvalid(
            os.fsencode(journal),
            f"its restore is of another mount namespace, in which process {pid} lives",
            hint=f"End that tree and undo there (`nsenter --mount --target {pid}`), or name the journal with --journal",
        )
    return journal
