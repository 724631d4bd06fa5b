"""What capture has recorded of a path, and so what a rebuild does there: the manifest's side of `show --why`."""

from __future__ import annotations

from collections.abc import Iterator

from llmux.criu_images._counted import counted
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images.manifest import FileEntry, FreeKind, Manifest


def treatments(manifest: Manifest, path: RawPath) -> tuple[str, ...]:
    """Say each thing that plan and rebuild do at `path`; nothing where the manifest does not name it."""
    return tuple(_treatments(manifest, path))


def _treatments(manifest: Manifest, path: RawPath) -> Iterator[str]:
    for file in manifest.files:
        if path in file.names:
            yield from _file(file, path)
    yield from (_free(name.kind) for name in manifest.free_names if name.path == path)
    for entries, what in (
        (manifest.directories, "a directory, made with its mode and owner where it is missing"),
        (manifest.fifos, "a FIFO, made with its mode and owner where it is missing"),
        (manifest.symlinks, "a symbolic link on the way, made where it is missing"),
        (manifest.nodes, "never made: this node must be here"),
    ):
        yield from (f"{what} ({entry.reason})" for entry in entries if entry.path == path)
    if any(socket.external and socket.name == path for socket in manifest.sockets):
        yield "a socket of another program: where nobody has it, a rebuild holds the name of a datagram peer until `finish`"


def _file(file: FileEntry, path: RawPath) -> Iterator[str]:
    if file.carried is None:
        yield (
            f"not carried: it is of the {file.origin.value} ({file.reason}); plan compares what is here: {_compared(file)}"
        )
    else:
        yield (
            f"carried as llmux/{file.carried} ({counted(file.size, 'byte')}; {file.reason}); "
            f"placed where it is missing, else compared: {_compared(file)}"
        )
    if path in file.consumed:
        yield "a link remap: placed before every restore, which uses it up"
    others = [escape(name) for name in file.names if name != path]
    if others:
        yield f"one file with {' and '.join(others)}: kept one by hard links"
    if file.written:
        yield "the tree writes to it: what has changed since is masked by a copy where the mount namespace is the tree's own"


def _compared(file: FileEntry) -> str:
    compared = {
        "size": file.demanded_size,
        "mode": file.demanded_mode,
        "build-id": file.build_id,
        "content": None if file.demanded_size is None else file.digest,  # else it is only appended to
    }
    return ", ".join(name for name, value in compared.items() if value is not None) or "that it is there"


def _free(kind: FreeKind) -> str:
    made = "CRIU binds its socket here" if kind is FreeKind.SOCKET else "CRIU makes this name itself"
    return f"never made: {made}; plan looks that nothing else is in the way, and an undo takes away what a failed restore left"
