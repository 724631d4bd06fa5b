"""What an engine leaves that criu has ended at its dump's end: the names of its sockets, which it has no more time to remove.

Of a checkpoint that is published they are the next restore's to clear away. One whose llmux was killed before that is
discarded, and with it goes the last that knows of them: they are removed first, where no socket has the name any more.

Interface (synchronous: call it in a thread):
    remove_sockets(directory) -> tuple[Path, ...]        those of the dump in this directory that are gone now
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from llmux.criu_images import CriuImagesError, read_manifest
from llmux.server._socket_names import Name, is_dead, name_of


def remove_sockets(directory: Path) -> tuple[Path, ...]:
    """Remove the names of a dump's sockets that nobody has any more.

    A dump without manifest names none: criu ends a tree only after that was written, and a tree that lives has its names.
    """
    return tuple(name.path for name in _named_in(directory) if is_dead(name) and _remove(name))


def _named_in(directory: Path) -> Iterator[Name]:
    with suppress(CriuImagesError, OSError):
        for each in read_manifest(directory).sockets:
            if each.bind_path and not each.external:
                path = Path(os.fsdecode(each.bind_path))
                if path.is_absolute() and (name := name_of(path)):
                    yield name


def _remove(name: Name) -> bool:
    with suppress(OSError):
        return name.remove()
    return False
