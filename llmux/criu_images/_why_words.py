"""What `criu restore` does at a path of each kind, in words: who does it in CRIU's source, and what it says where it can't."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass

from llmux.criu_images._counted import counted
from llmux.criu_images._inventory import PathKind, PathReference
from llmux.criu_images._paths import RawPath, escape


@dataclass(frozen=True, slots=True)
class AtRestore:
    """What a restore does with a path."""

    does: str
    function: str
    """Of CRIU 4.2; empty where it is the kernel's affair."""
    says: tuple[str, ...]
    """The messages of a restore that can't, with the path as CRIU prints it: without its first slash."""


_NOT_FOUND = "Can't open file {} on restore: No such file or directory"

_WORDS: dict[PathKind | str, tuple[str, str, tuple[str, ...]]] = {
    PathKind.REGULAR: ("CRIU opens it by name{}", "open_path, validate_file", (_NOT_FOUND,)),
    PathKind.DIRECTORY: ("CRIU opens it by name{}", "open_path, validate_file", (_NOT_FOUND,)),
    PathKind.DEVICE: ("CRIU opens the node by name{}", "open_path, validate_file", (_NOT_FOUND,)),
    PathKind.SYMLINK: ("CRIU opens the link itself{}", "open_path", (_NOT_FOUND,)),
    PathKind.OTHER: ("CRIU opens the node by name{}", "open_path, validate_file", (_NOT_FOUND,)),
    PathKind.PROC: (
        "CRIU opens it once the processes are there; it is the kernel's",
        "open_path",
        (_NOT_FOUND,),
    ),
    PathKind.FIFO: (
        "CRIU opens the node, which must be a FIFO, and fills it from the images",
        "open_fifo_fd",
        ("Can't open fake fifo N [{}]: No such file or directory",),
    ),
    PathKind.SOCKET: (
        "CRIU removes a socket that is at the path, leaves anything else alone, and binds it anew: the directory must be there",
        "unlink_sk, bind_unix_sk",
        ("Can't bind id N ino N addr /{}: No such file or directory",),
    ),
    PathKind.DELETED_SOCKET: (
        "CRIU makes missing parent directories, parks what is at the path as *.criu-sk-ghost, binds the socket and removes the name again",
        "bind_on_deleted",
        ("ghost: Can't bind on socket id N ino N addr /{}", "ghost: Can't create {}"),
    ),
    PathKind.EXTERNAL_SOCKET: (
        "CRIU connects to it, with --ext-unix-sk: whoever serves it must be there",
        "post_open_standalone",
        ("External socket found in image.", "Can't connect N socket"),
    ),
    PathKind.LINK_REMAP: (
        "CRIU links the lost name from it, checks that{}, and removes it when the restore is done",
        "open_path, rfi_remap",
        ("Can't link {} -> NAME: No such file or directory",),
    ),
    PathKind.LINKED_NAME: (
        "CRIU makes this name for a moment as a hard link of the link remap (PATH.cr_link where it is taken){}",
        "open_path, rfi_remap",
        ("Can't link REMAP -> {}: No such file or directory",),
    ),
    PathKind.GHOST_NAME: (
        "CRIU makes the file from the images as PATH.cr.N.ghost, links the name to it, opens that and removes both",
        "create_ghost, open_path",
        ("Can't link PATH.cr.N.ghost -> {}",),
    ),
    PathKind.WATCHED: (
        "CRIU opens it by the path in the images and watches it again",
        "restore_one_inotify, restore_one_fanotify",
        ("Unable to open {}: No such file or directory",),
    ),
    "name of a connection": (
        "CRIU removes a socket that is at the path, and restores the connection as an unnamed pair: it binds nothing here",
        "unlink_sk, open_unixsk_pair_master",
        (),
    ),
    "name that a restore makes for a moment": (
        "CRIU makes it and removes it again; one that a failed restore left makes the next one fail",
        "create_ghost, open_path",
        ("Can't link {} -> NAME: File exists",),
    ),
    "mount point": (
        "CRIU mounts it in the mount namespace that the dump brings",
        "prepare_mnt_ns",
        ("Can't mount at",),
    ),
}


def at_restore(kind: PathKind | str, path: RawPath, reference: PathReference | None = None) -> AtRestore:
    """Say what a restore does with a path of this kind."""
    does, function, says = _WORDS[kind]
    checks = () if reference is None else tuple(_checks(reference))
    compared = f", and compares {' and '.join(name for name, _ in checks)}" if checks else ""
    shown = escape(path[1:] or b".")
    return AtRestore(
        does.format(compared),
        function,
        (*(text.format(shown) for text in says), *(text.format(shown) for _, text in checks)),
    )


def _checks(reference: PathReference) -> Iterator[tuple[str, str]]:
    """Yield what `validate_file` compares of this path, and its message."""
    if reference.kind in {
        PathKind.GHOST_NAME,
        PathKind.SOCKET,
        PathKind.DELETED_SOCKET,
        PathKind.EXTERNAL_SOCKET,
    }:
        return
    if reference.size is not None:
        yield (
            f"its size ({counted(reference.size, 'byte')})",
            f"File {{}} has bad size N (expect {reference.size})",
        )
    if reference.mode is not None:
        mode = stat.filemode(reference.mode)
        yield f"its mode ({mode})", f"File {{}} has bad mode N (expect 0{reference.mode:o})"
    if reference.build_id is not None:
        yield f"its build-id ({reference.build_id.hex()})", "File {} has bad build-ID"
