"""What a restore asks for and is not here: a look at each path, walked as safely as a rebuild walks it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._nvidia import is_made_by_driver, library_version
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import UnsafeLink
from llmux.criu_images.manifest import Manifest, Origin

_MADE_BY_CRIU = frozenset({PathKind.LINKED_NAME, PathKind.GHOST_NAME, PathKind.DELETED_SOCKET})
"""CRIU makes missing directories of these itself (`make_parent_dirs_if_need`)."""
_BY_CAPTURE = "capture, before the dump is moved"
_BY_NOBODY = "nobody: it is not in the manifest"
_VOLUME = "the volume that the dump was made with"
_DRIVER = "the container's start, with the GPUs of a node that has the dump's NVIDIA driver"
_SOURCES = {
    Origin.IMAGE: "the image that the dump was made with",
    Origin.VOLUME: _VOLUME,
    Origin.RUN_TIME: _VOLUME,
    Origin.NODE: _DRIVER,
}
"""Who brings a file that is not carried."""
_OF_A_PROCESS = re.compile(rb"/proc/(self|[0-9]+)(/|\Z)")


@dataclass(frozen=True, slots=True)
class Missing:
    """One path that a restore asks for and that is not here."""

    path: RawPath
    kind: str
    """A `PathKind`'s value."""
    found: str
    """`nothing is here`, or what is in the way."""
    mended_by: str
    """Who can bring it."""


def find_missing(inventory: Inventory, manifest: Manifest | None, root: Path) -> tuple[Missing, ...]:
    """Look for each path below `root`, and return those that are not there, sorted."""
    wanted = dict(_wanted(inventory))
    mended = {} if manifest is None else dict(_recorded(manifest))
    for path, (kind, _) in mended.items():
        wanted.setdefault(path, kind)
    unknown = _BY_CAPTURE if manifest is None else _BY_NOBODY
    with Tree(root) as tree:
        looked = ((path, kind, _look(tree, path)) for path, kind in sorted(wanted.items()))
        return tuple(
            Missing(path, kind, found, mended.get(path, (kind, _DRIVER if _of_driver(path) else unknown))[1])
            for path, kind, found in looked
            if found is not None
        )


def _of_driver(path: RawPath) -> bool:
    return is_made_by_driver(path) or library_version(path) is not None


def _wanted(inventory: Inventory) -> Iterator[tuple[RawPath, str]]:
    for reference in inventory.paths:
        if reference.kind is PathKind.SOCKET:
            yield _parent(reference.path), PathKind.DIRECTORY.value
        elif not _made_by_restore(reference):
            yield reference.path, reference.kind.value


def _made_by_restore(reference: PathReference) -> bool:
    return reference.kind in _MADE_BY_CRIU or _OF_A_PROCESS.match(reference.path) is not None


def _parent(path: RawPath) -> RawPath:
    return RawPath(path.rpartition(b"/")[0] or b"/")


def _recorded(manifest: Manifest) -> Iterator[tuple[RawPath, tuple[str, str]]]:
    """Yield what capture has recorded besides: hard links, directories and links on the way, with who brings each."""
    for file in manifest.files:
        by = _SOURCES[file.origin] if file.carried is None else "rebuild"
        yield from ((name, (PathKind.REGULAR.value, by)) for name in file.names)
    for directory in manifest.directories:
        yield directory.path, (PathKind.DIRECTORY.value, "rebuild")
    for symlink in manifest.symlinks:
        yield symlink.path, (PathKind.SYMLINK.value, "rebuild")
    for fifo in manifest.fifos:
        yield fifo.path, (PathKind.FIFO.value, "rebuild")
    for node in manifest.nodes:
        by = (
            _DRIVER
            if is_made_by_driver(node.path)
            else "the container's start, with this device or kernel file"
        )
        yield node.path, (PathKind.DEVICE.value, by)
    for socket in manifest.sockets:
        if socket.external and socket.name.startswith(b"/"):
            yield socket.name, (PathKind.EXTERNAL_SOCKET.value, "the program that serves it")


def _look(tree: Tree, path: RawPath) -> str | None:
    """Say why nothing can be found at a path; None where something is there."""
    try:
        return "nothing is here" if tree.inspect(path) is None else None
    except (UnsafeLink, OSError) as error:
        return f"it cannot be reached: {error}"
