"""What an engine leaves that criu has ended at its dump's end: the names of its sockets, which it has no more time to remove.

Of a checkpoint that is published they are the next restore's to clear away. One whose llmux was killed before that is
discarded, and with it goes the last that knows of them: they are removed first, where no socket has the name any more.

Interface (synchronous: call it in a thread):
    remove_sockets(directory) -> tuple[Path, ...]        those of the dump in this directory that are gone now
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from llmux.criu_images import CriuImagesError, read_manifest
from llmux.server._berth import short_address
from llmux.server._facts import Name, name_of


def remove_sockets(directory: Path) -> tuple[Path, ...]:
    """Remove the names of a dump's sockets that nobody has any more.

    A dump without manifest names none: criu ends a tree only after that was written, and a tree that lives has its names.
    """
    return tuple(name.path for name in _named_in(directory) if _is_dead(name) and _remove(name))


def _named_in(directory: Path) -> Iterator[Name]:
    with suppress(CriuImagesError, OSError):
        for each in read_manifest(directory).sockets:
            if each.bind_path and not each.external:
                path = Path(os.fsdecode(each.bind_path))
                if path.is_absolute() and (name := name_of(path)):
                    yield name


def _is_dead(name: Name) -> bool:
    """Say whether no socket has the name, in whichever network namespace it would be (unix(7))."""
    if _leads_elsewhere(name.path) or str(name.path) in _bound():
        return False
    with closing(socket.socket(socket.AF_UNIX)) as caller:
        caller.setblocking(False)
        try:
            with short_address(name.path) as address:
                caller.connect(address)
        except ConnectionRefusedError:
            return True
        except (
            OSError
        ):  # EPROTOTYPE: it is of another type, EAGAIN: its queue is full; either way it is somebody's
            return False
    return False


def _leads_elsewhere(path: Path) -> bool:
    """Say whether a link is in the way: somebody may have made it after the dump."""
    return os.path.realpath(path.parent) != str(path.parent)


def _bound() -> frozenset[str]:
    """Return the paths in /proc/net/unix: also of sockets that are bound and do not listen, which refuse a connection too."""
    table = Path("/proc/net/unix").read_text("utf-8", "surrogateescape")
    rows = (line.split(None, 7) for line in table.splitlines()[1:])
    return frozenset(row[7] for row in rows if len(row) > 7)


def _remove(name: Name) -> bool:
    with suppress(OSError):
        return name.remove()
    return False
