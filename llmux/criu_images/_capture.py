"""After a dump, the tree still frozen: copies what a fresh container lacks beside the images, and writes the manifest last.

Everything here adds to the time the tree stands still, so files that are in the container's image or on its volumes are not read
whole, and nothing is synced: CRIU does not sync its page images either, which are most of the checkpoint. Whoever must survive a
power cut syncs the file system after the dump; the fingerprint and the seal find what a cut has damaged.
"""

from __future__ import annotations

import enum
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmux.criu_images import _observe as observe
from llmux.criu_images._digest import Algorithm, ShortReadError, choose_algorithm, copy_file, digest_file
from llmux.criu_images._dump import read_dump
from llmux.criu_images._facts import MountPoint
from llmux.criu_images._gather import GatheredFile, Gathering, Place
from llmux.criu_images._inventory import Inventory, PortReference, SocketReference, take_inventory
from llmux.criu_images._origin import ContainerStart
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import Pid, RegularFile
from llmux.criu_images._safefs import Tree, secret_name
from llmux.criu_images._users import User
from llmux.criu_images._verify import check_images, read_manifest
from llmux.criu_images._words import counted
from llmux.criu_images.errors import (
    AlreadyCaptured,
    CaptureFailed,
    ImagesDiffer,
    ManifestInvalid,
    ManifestMissing,
    ManifestVersion,
)
from llmux.criu_images.manifest import (
    MANIFEST_NAME,
    SIDE_DIRECTORY,
    FileEntry,
    Host,
    ImageEntry,
    Manifest,
    MountEntry,
    Origin,
    PortEntry,
    SocketEntry,
    fingerprint_of,
)

_WHOLE_IMAGE = 4 << 20
"""Images up to this size are digested whole, in bytes; larger ones (pages) by samples."""
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.img")
_WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True, slots=True)
class Subject:
    """What is captured: the decoded dump's demands."""

    inventory: Inventory
    root_task: Pid
    written: frozenset[RawPath]
    """The paths that some process may write to."""


def capture(
    directory: Path,
    *,
    root: Path = Path("/"),
    container_started_ns: int | None = None,
    criu_version: str | None = None,
    again: bool = False,
) -> Manifest:
    """Capture what the dump in `directory` needs from the files below `root`, and return the manifest written there.

    Run it while the dumped tree is frozen (CRIU's `post-dump` stage), in its mount and PID namespace. `container_started_ns` is the
    container's creation in nanoseconds since 1970, found out if not given. An earlier capture of another dump in `directory` is replaced, one of this dump
    only with `again`; if this one fails there is no manifest. Raises AlreadyCaptured, CaptureFailed, UnsafeLink and what `read_dump` raises.
    """
    if not again and _is_captured(directory):
        raise AlreadyCaptured(os.fsencode(directory))
    dump = read_dump(directory)
    written = (
        file.name for file in dump.files.values() if isinstance(file, RegularFile) and file.flags & _WRITING
    )
    subject = Subject(take_inventory(dump), dump.root_task, frozenset(written))
    try:
        with Tree(root) as tree:
            place = survey_place(tree, container_started_ns)
            return capture_subject(subject, directory, place, criu_version)
    except OSError as error:  # of the images' directory: what goes wrong with a captured path already says so
        raise CaptureFailed(os.fsencode(directory), error.strerror or str(error)) from error


def _is_captured(directory: Path) -> bool:
    """Tell whether the manifest there was made for these images: CRIU's next dump into one directory leaves the last one's manifest."""
    try:
        manifest = read_manifest(directory)
        check_images(directory, manifest)
    except (ManifestMissing, ManifestInvalid, ManifestVersion, ImagesDiffer):
        return False
    return True


def survey_place(tree: Tree, container_started_ns: int | None) -> Place:
    """Find out what tells run-time files from the image's; raises CaptureFailed, OSError."""
    mounts = {mount.id: mount for mount in observe.read_mounts()}
    root = tree.inspect(RawPath(b"/"))
    if root is None or root.mount not in mounts:
        raise CaptureFailed(b"/", "the kernel does not tell its mount", hint="Use Linux 5.8 or newer")
    if container_started_ns is None:
        start = observe.find_container_start(root, mounts[root.mount])
    else:
        start = ContainerStart(container_started_ns, "told by the caller")
    return Place(tree, mounts, root.mount, start)


def capture_subject(subject: Subject, directory: Path, place: Place, criu_version: str | None) -> Manifest:
    """Capture what `subject` asks for; as `capture`, for a dump that is already read."""
    gathering = Gathering(place, subject.written)
    gathering.add_all(subject.inventory.paths)
    gathered = gathering.files()
    target = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _clear(target)
        files = _carry(target, place.tree, gathered)
        images = list_images(target)
        manifest = Manifest(
            created_at=datetime.now(UTC),
            root_task=subject.root_task,
            ids=subject.inventory.ids,
            container_started_ns=place.start.ns,
            container_started_by=place.start.known_by,
            host=_host(criu_version),
            directories=gathering.directories,
            files=files,
            fifos=gathering.fifos,
            symlinks=gathering.symlinks,
            nodes=gathering.nodes,
            free_names=gathering.free_names,
            sockets=tuple(map(_socket_entry, subject.inventory.sockets)),
            ports=tuple(map(_port_entry, subject.inventory.ports)),
            mounts=_mount_entries(place.mounts.values(), files),
            images=images,
            fingerprint=fingerprint_of(images),
            warnings=tuple(_warnings(subject.root_task, gathered)),
        ).sealed()
        _write_manifest(target, manifest)
    finally:
        os.close(target)
    return manifest


def _clear(target: int) -> None:
    """Remove an earlier capture, its manifest first: a directory never has the manifest of other side files."""
    with suppress(FileNotFoundError):
        os.unlink(MANIFEST_NAME, dir_fd=target)
    with suppress(FileNotFoundError):
        side = _open_directory(SIDE_DIRECTORY, target)
        try:
            with os.scandir(side) as entries:
                for entry in list(entries):
                    os.unlink(entry.name, dir_fd=side)
        finally:
            os.close(side)


def _open_directory(name: str, directory: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def _carry(target: int, tree: Tree, gathered: tuple[GatheredFile, ...]) -> tuple[FileEntry, ...]:
    """Copy what is to be carried to `llmux/` as 0, 1, 2, ..., and return all entries."""
    with suppress(FileExistsError):
        os.mkdir(SIDE_DIRECTORY, 0o700, dir_fd=target)
    side = _open_directory(SIDE_DIRECTORY, target)
    try:
        entries: list[FileEntry] = []
        for file in gathered:
            number = sum(entry.carried is not None for entry in entries)
            entries.append(_carry_one(side, str(number), tree, file) if file.carry else file.entry)
    finally:
        os.close(side)
    return tuple(entries)


def _carry_one(side: int, name: str, tree: Tree, file: GatheredFile) -> FileEntry:
    path = file.entry.names[0]
    try:
        with tree.open_file(path, os.O_RDONLY | os.O_NOATIME) as source:
            digest = _copy_to_side(side, name, source, file)
    except ShortReadError as error:
        raise CaptureFailed(
            path, f"it is shorter than the {counted(file.entry.size, 'byte')} of the dump"
        ) from error
    except OSError as error:
        raise CaptureFailed(path, error.strerror or str(error)) from error
    return file.entry.model_copy(update={"digest": digest, "carried": name})


def _copy_to_side(side: int, name: str, source: int, file: GatheredFile) -> str:
    status = os.fstat(source)
    if (status.st_dev, status.st_ino) != file.inode.identity:
        raise CaptureFailed(file.entry.names[0], "somebody replaced it during the capture")
    copy = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=side
    )
    try:
        return copy_file(source, copy, file.entry.size, choose_algorithm(status))
    finally:
        os.close(copy)


def list_images(directory: int) -> tuple[ImageEntry, ...]:
    """Return CRIU's images in an open directory, sorted by name, each with its digest; raises OSError."""
    names = sorted(name for name in os.listdir(directory) if _IMAGE_NAME.fullmatch(name))
    return tuple(_image_entry(directory, name) for name in names)


def _image_entry(directory: int, name: str) -> ImageEntry:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        size = os.fstat(fd).st_size
        algorithm = Algorithm.WHOLE if size <= _WHOLE_IMAGE else Algorithm.SAMPLED
        return ImageEntry(name=name, size=size, digest=digest_file(fd, size, algorithm))
    finally:
        os.close(fd)


def _write_manifest(target: int, manifest: Manifest) -> None:
    temporary = secret_name()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(manifest.to_json())
        os.rename(temporary, MANIFEST_NAME, src_dir_fd=target, dst_dir_fd=target)
    except BaseException:
        os.unlink(temporary, dir_fd=target)
        raise


def _host(criu_version: str | None) -> Host:
    processor, system = observe.read_processor(), os.uname()
    return Host(
        name=socket.gethostname(),
        kernel=system.release,
        machine=system.machine,
        cpu_model=processor.model,
        cpu_features=tuple(sorted(processor.features)),
        criu=criu_version,
        llmux=_own_version(),
    )


def _own_version() -> str:
    try:
        return version("llmux")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"


def _socket_entry(reference: SocketReference) -> SocketEntry:
    unix, peer = reference.socket, reference.peer
    return SocketEntry(
        inode=unix.inode,
        type=_name_of(unix.type),
        state=_name_of(unix.state),
        name=unix.name,
        bind_path=reference.bind_path,
        abstract=unix.abstract,
        external=unix.external,
        peer=unix.peer,
        peer_name=peer.name if peer else None,
        pids=_pids(reference.users),
    )


def _port_entry(reference: PortReference) -> PortEntry:
    inet = reference.socket
    return PortEntry(
        family=inet.family,
        protocol=inet.protocol,
        type=_name_of(inet.type),
        address=inet.source,
        port=inet.source_port,
        v6only=inet.v6only,
        pids=_pids(reference.users),
    )


def _name_of(value: enum.Enum | int) -> str:
    return value.name if isinstance(value, enum.Enum) else str(value)


def _pids(users: tuple[User, ...]) -> tuple[Pid, ...]:
    return tuple(sorted({user.pid for user in users}))


def _mount_entries(mounts: Iterable[MountPoint], files: tuple[FileEntry, ...]) -> tuple[MountEntry, ...]:
    needed = {file.mount for file in files if file.origin is Origin.VOLUME and file.carried is None}
    return tuple(
        MountEntry(
            mountpoint=mount.mountpoint,
            root=mount.root,
            fstype=mount.fstype,
            source=mount.source,
            needed=mount.mountpoint in needed,
        )
        for mount in mounts
    )


def _warnings(root_task: Pid, gathered: tuple[GatheredFile, ...]) -> Iterator[str]:
    if not observe.is_alive(root_task):
        yield f"the dump's root task {root_task} did not exist any more at the capture: what was captured may not be what was dumped"
    for file in gathered:
        elsewhere = file.inode.links - len(file.entry.names)
        if file.carry and elsewhere > 0:
            yield f"{escape(file.entry.names[0])} has {counted(elsewhere, 'more hard link')} in other directories: a restore does not join them"
