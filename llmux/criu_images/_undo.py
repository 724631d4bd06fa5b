"""Takes back what a journal says was made, as far as it is still the same."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from llmux.criu_images._build import clear_masks_place
from llmux.criu_images._facts import Born, Inode
from llmux.criu_images._journal import Kind, Made
from llmux.criu_images._linux import unmount
from llmux.criu_images._metadata import clear_flags
from llmux.criu_images._observe import read_socket_names
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree, inspect_fd
from llmux.criu_images._times import earlier_times, put_back
from llmux.criu_images.errors import UnsafeLink


@dataclass(frozen=True, slots=True)
class Left:
    """Something that was made and is not taken back."""

    path: RawPath
    why: str


@dataclass(slots=True)
class Undone:
    """What an undo did."""

    removed: list[RawPath]
    left: list[Left]


def take_back(
    tree: Tree, lines: Sequence[Made], times: Mapping[tuple[RawPath, Born], int] | None = None
) -> Undone:
    """Undo a journal's lines from the last to the first. What is gone is fine: a restore consumes its link remaps.

    `times` is what `earlier_times` said, where the caller has taken something back already.
    """
    undone = Undone([], [])
    times = earlier_times(tree, lines) if times is None else times
    for made in reversed(lines):
        for path in reversed(made.paths):
            try:
                _take_back_one(tree, made, path, undone)
            except FileNotFoundError:
                continue
            except (OSError, UnsafeLink) as error:
                undone.left.append(Left(path, str(error)))
    put_back(tree, times, [one.path for one in undone.left])
    return undone


def _take_back_one(tree: Tree, made: Made, path: RawPath, undone: Undone) -> None:
    if made.kind is Kind.MASKS_PLACE:
        clear_masks_place(Path(os.fsdecode(path)))
        return
    inode = tree.inspect(path)
    if inode is not None:
        _take_back_inode(tree, made, path, inode, undone)


def _take_back_inode(tree: Tree, made: Made, path: RawPath, inode: Inode, undone: Undone) -> None:
    match made.kind:
        case Kind.NODE:
            _take_back_node(tree, made, path, inode, undone)
        case Kind.DIRECTORY_INTENDED:
            _remove_unfinished(tree, path, inode, undone)
        case Kind.DIRECTORY:
            _take_back_directory(tree, made, path, inode, undone)
        case Kind.SOCKET:
            _remove_dead_socket(tree, path, inode, undone)
        case Kind.TEMPORARY | Kind.LEFTOVER:
            _remove_leftover(tree, path, inode, undone)
        case Kind.MASK:
            _unmask(tree, made, path, undone)
        case Kind.FLAGS:
            _clear_flags(tree, made, path)
        case Kind.MASKS_PLACE | Kind.DIRECTORY_FOUND | Kind.DIRECTORY_LEFT | Kind.BUILT | Kind.RESTORED:
            pass
        case _:
            assert_never(made.kind)


def _clear_flags(tree: Tree, made: Made, path: RawPath) -> None:
    """Let what was made be removed: it is, by an earlier line, if nobody has changed it."""
    with tree.open(path, os.O_PATH) as fd:
        if inspect_fd(fd).born == made.born:
            clear_flags(fd, made.flags)


def _take_back_node(tree: Tree, made: Made, path: RawPath, inode: Inode, undone: Undone) -> None:
    if _unchanged(made, inode):
        _unlink(tree, path, undone)
    elif inode.identity == (made.device, made.inode):
        undone.left.append(Left(path, "it was changed since"))


def _remove_leftover(tree: Tree, path: RawPath, inode: Inode, undone: Undone) -> None:
    if not stat.S_ISDIR(inode.mode):
        _unlink(tree, path, undone)


def _remove_dead_socket(tree: Tree, path: RawPath, inode: Inode, undone: Undone) -> None:
    if not stat.S_ISSOCK(inode.mode):
        return
    if path in read_socket_names():
        undone.left.append(Left(path, "a process has bound it"))
    else:
        _unlink(tree, path, undone)


def _unchanged(made: Made, inode: Inode) -> bool:
    return (inode.device, inode.number, inode.size, inode.mtime_ns) == (
        made.device,
        made.inode,
        made.size,
        made.mtime_ns,
    )


def _unlink(tree: Tree, path: RawPath, undone: Undone) -> None:
    with tree.way_to(path) as way:
        os.unlink(way.name, dir_fd=way.directory)
    undone.removed.append(path)


def _remove_unfinished(tree: Tree, path: RawPath, inode: Inode, undone: Undone) -> None:
    """Remove a directory that was made and never got its line: empty, and just as mkdir made it."""
    # In a set-group-id directory it has that bit too, and under a umask fewer permissions.
    others = stat.S_IMODE(inode.mode) & ~stat.S_ISGID & ~0o700
    fresh = stat.S_ISDIR(inode.mode) and not others and inode.uid == os.geteuid()
    if fresh and _rmdir(tree, path):
        undone.removed.append(path)


def _take_back_directory(tree: Tree, made: Made, path: RawPath, inode: Inode, undone: Undone) -> None:
    if inode.identity != (made.device, made.inode):
        return
    if _rmdir(tree, path):
        undone.removed.append(path)
    else:
        undone.left.append(Left(path, "it is not empty"))


def _rmdir(tree: Tree, path: RawPath) -> bool:
    """Remove a directory if it is empty, and tell whether it was."""
    try:
        with tree.way_to(path) as way:
            os.rmdir(way.name, dir_fd=way.directory)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            return False
        raise
    return True


def _unmask(tree: Tree, made: Made, path: RawPath, undone: Undone) -> None:
    """Unmount the copy, if it is what is mounted there."""
    with tree.open(path, os.O_PATH) as fd:
        if inspect_fd(fd).born == made.born:
            unmount(fd)
            undone.removed.append(path)
