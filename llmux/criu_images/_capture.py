"""After a dump, the tree still frozen: copies what a fresh container lacks beside the images, and writes the manifest last.

Everything here adds to the time the tree stands still, so files that are in the container's image or on its volumes are not read
whole, and nothing is synced: CRIU does not sync its page images either, which are most of the checkpoint. Whoever must survive a
power cut syncs the file system after the dump; the fingerprint and the seal find what a cut has damaged.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from time import monotonic_ns

from llmux.criu_images import _observe as observe
from llmux.criu_images._capture_entries import (
    host_entry,
    lock_entries,
    mount_entries,
    nvidia_entry,
    port_entries,
    sizes_without_digest,
    socket_entries,
)
from llmux.criu_images._checkpoint import (
    Stamp,
    find_changed,
    image_names,
    open_directory,
    open_file,
    open_side_directory,
    read_stamps,
)
from llmux.criu_images._counted import counted
from llmux.criu_images._difference import Difference, measure_difference
from llmux.criu_images._digest import (
    Algorithm,
    Segments,
    ShortReadError,
    choose_algorithm,
    copy_file,
    digest_file,
    few_segments,
)
from llmux.criu_images._dump import read_dump
from llmux.criu_images._gather import GatheredFile, Gathering, Place
from llmux.criu_images._identify import Identified, identify
from llmux.criu_images._inventory import Inventory, take_inventory
from llmux.criu_images._observe_nvidia import read_driver
from llmux.criu_images._origin import ContainerStart
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._policy import DEFAULT, Policy
from llmux.criu_images._progress import Advance, Listener, Meter, Phase, ignore, passing_on
from llmux.criu_images._records import Pid, RegularFile
from llmux.criu_images._safefs import Tree, secret_name
from llmux.criu_images._verify import check_images, read_manifest
from llmux.criu_images.errors import (
    AlreadyCaptured,
    CaptureFailed,
    ImagesDiffer,
    ImagesUnwritable,
    ManifestInvalid,
    ManifestMissing,
    ManifestVersion,
    NotADump,
)
from llmux.criu_images.manifest import (
    MANIFEST_NAME,
    SIDE_DIRECTORY,
    CaptureCost,
    FileEntry,
    ImageEntry,
    Manifest,
    fingerprint_of,
)

_WHOLE_IMAGE = 4 << 20
"""Images up to this size are digested whole, in bytes; larger ones (pages) by samples."""
_SIDE_NAME = re.compile(r"[0-9]{1,9}")
_WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True, slots=True)
class Subject:
    """What is captured: the decoded dump's demands."""

    inventory: Inventory
    root_task: Pid
    written: frozenset[RawPath]
    """The paths that some process may write to."""
    process: int | None = None
    """The root task's id here, where the dump has that of a PID namespace of its own."""
    images: Mapping[str, Stamp] = field(default_factory=dict)
    """The decoded images as they were before."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a capture is done."""

    policy: Policy = DEFAULT
    listener: Listener = ignore
    began_ns: int = field(default_factory=monotonic_ns)
    """When the caller began, by the monotonic clock: what the tree waited for."""


@passing_on()
def capture(  # noqa: PLR0913 - each is the caller's own choice
    directory: Path,
    *,
    root: Path = Path("/"),
    container_started_ns: int | None = None,
    criu_version: str | None = None,
    again: bool = False,
    policy: Policy = DEFAULT,
    process: int | None = None,
    progress: Listener = ignore,
) -> Manifest:
    """Capture what the dump in `directory` needs from the files below `root`, and return the manifest written there.

    Run it while the dumped tree is frozen (CRIU's `post-dump` stage), in its mount and PID namespace, or give a `process` of it
    and its root as `root`. `container_started_ns` is the container's creation in nanoseconds since 1970, found out if not given. An earlier capture of another dump in `directory` is replaced, one of this dump
    only with `again`; if this one fails, nothing of it stays. `policy` chooses what is carried; `progress` is told how far it is, and costs the frozen
    tree what it takes. Raises AlreadyCaptured, CaptureFailed, ImagesUnwritable, ManifestVersion, UnsafeLink and what `read_dump` and `progress` raise.
    """
    terms = Terms(policy, progress)
    if not again and _is_captured(directory):
        raise AlreadyCaptured(os.fsencode(directory))
    images = _stamps(directory)
    dump = read_dump(directory)
    written = (
        file.name for file in dump.files.values() if isinstance(file, RegularFile) and file.flags & _WRITING
    )
    subject = Subject(take_inventory(dump), dump.root_task, frozenset(written), process, images)
    try:
        with Tree(root) as tree:
            place = replace(survey_place(tree, container_started_ns, process), root=root)
            return capture_subject(subject, directory, place, criu_version, terms)
    except OSError as error:  # of the images' directory: what goes wrong with a captured path already says so
        raise CaptureFailed(os.fsencode(directory), error.strerror or str(error)) from error


def _stamps(directory: Path) -> Mapping[str, Stamp]:
    try:
        with open_directory(directory) as fd:
            return read_stamps(fd)
    except OSError as error:
        raise NotADump(os.fspath(directory), error.strerror or str(error)) from error


def _is_captured(directory: Path) -> bool:
    """Tell whether the manifest there was made for these images: CRIU's next dump into one directory leaves the last one's manifest.

    Whether one of another version was cannot be told, and it may be all that another release needs: raises ManifestVersion.
    """
    try:
        manifest = read_manifest(directory)
        check_images(directory, manifest)
    except ManifestVersion as error:
        error.hint = "Keep it for the release of llmux that reads it, or replace it with `capture --again`; after a new dump, remove it first"
        raise
    except (ManifestMissing, ManifestInvalid, ImagesDiffer):
        return False
    return True


def survey_place(tree: Tree, container_started_ns: int | None, process: int | None = None) -> Place:
    """Find out what tells run-time files from the image's; raises CaptureFailed, OSError."""
    mounts = {mount.id: mount for mount in observe.read_mounts(process)}
    root = tree.inspect(RawPath(b"/"))
    if root is None or root.mount not in mounts:
        raise CaptureFailed(b"/", "the kernel does not tell its mount", hint="Use Linux 5.8 or newer")
    if container_started_ns is None:
        start = observe.find_container_start(root, mounts[root.mount])
    else:
        start = ContainerStart(container_started_ns, "told by the caller")
    return Place(tree, mounts, root.mount, start, nvidia=read_driver(tree))


def capture_subject(
    subject: Subject, directory: Path, place: Place, criu_version: str | None, terms: Terms | None = None
) -> Manifest:
    """Capture what `subject` asks for; as `capture`, for a dump that is already read."""
    terms = terms or Terms()
    gathering = Gathering(place, subject.written, terms.policy)
    gathering.add_all(subject.inventory.paths)
    identified = identify(place.tree, gathering.files(), listener=terms.listener)
    difference = _difference(place, directory)
    with _target(directory) as target:
        files = _carry(target, place.tree, identified.files, terms.listener)
        images = list_images(target, terms.listener)
        _check_unchanged(subject, directory, target)
        manifest = Manifest(
            created_at=datetime.now(UTC),
            root_task=subject.root_task,
            ids=subject.inventory.ids,
            threads=subject.inventory.threads,
            container_started_ns=place.start.ns,
            container_started_by=place.start.known_by,
            host=host_entry(criu_version),
            nvidia=nvidia_entry(place.nvidia, subject.inventory),
            directories=gathering.directories,
            files=files,
            fifos=gathering.fifos,
            symlinks=gathering.symlinks,
            nodes=gathering.nodes,
            free_names=gathering.free_names,
            sockets=socket_entries(subject.inventory, place.tree),
            ports=port_entries(subject.inventory),
            locks=tuple(lock_entries(subject.inventory)),
            mounts=mount_entries(place.mounts.values(), files),
            images=images,
            fingerprint=fingerprint_of(images),
            policy=tuple(map(str, terms.policy.rules)),
            cost=_cost(terms.began_ns, identified, difference),
            warnings=tuple(_warnings(Pid(subject.process or subject.root_task), identified.files)),
        ).sealed()
        _write_manifest(target, manifest)
    return manifest


def _check_unchanged(subject: Subject, directory: Path, target: int) -> None:
    """Make sure that the images which were digested are those which were decoded; raises CaptureFailed."""
    changed = find_changed(subject.images, target)
    if changed is not None:
        raise CaptureFailed(
            os.fsencode(directory / changed), "somebody changed this image during the capture"
        )


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@contextmanager
def _target(directory: Path) -> Iterator[int]:
    """Open the images' directory without an earlier capture; should this one fail, nothing of it stays. Raises ImagesUnwritable."""
    target = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _clear(target)
        yield target
    except BaseException as error:
        with suppress(OSError):
            _clear(target)
        if isinstance(error, OSError):
            raise _unwritable(directory, error) from error
        raise
    finally:
        os.close(target)


def _unwritable(directory: Path, error: OSError) -> CaptureFailed:
    path, why = os.fsencode(directory), error.strerror or str(error)
    if error.errno in _NO_ROOM:
        hint = "Make room there, or dump to another directory; nothing was left there, and the tree runs on if CRIU's hook did this"
        return ImagesUnwritable(path, why, hint=hint)
    if error.errno in _NO_RIGHT:
        hint = "Mount it writable, or run as a user who may write there; a checkpoint that is captured needs no second capture"
        return ImagesUnwritable(path, why, hint=hint)
    return CaptureFailed(path, why)


def _difference(place: Place, directory: Path) -> Difference | None:
    """Measure what an export would carry, where the root is an overlay: elsewhere only the whole tree would tell."""
    mount = place.mounts[place.root_mount]
    if mount.fstype != "overlay":
        return None
    return measure_difference(place.root, mount.id, place.start.ns, directory)


def _cost(began_ns: int, identified: Identified, difference: Difference | None) -> CaptureCost:
    carried = [file for file in identified.files if file.carry]
    return CaptureCost(
        microseconds=(monotonic_ns() - began_ns) // 1000,
        carried_files=len(carried),
        carried_bytes=sum(file.entry.size for file in carried),
        data_bytes=sum(min(file.inode.data, file.entry.size) for file in carried),
        digested_bytes=identified.bytes,
        difference_bytes=None if difference is None else difference.bytes,
        difference_known_by="not known: the root is no overlay"
        if difference is None
        else difference.known_by,
    )


def _clear(target: int) -> None:
    """Remove an earlier capture, its manifest first: a directory never has the manifest of other side files."""
    with suppress(FileNotFoundError):
        os.unlink(MANIFEST_NAME, dir_fd=target)
    with suppress(FileNotFoundError), open_side_directory(target) as side, os.scandir(side) as entries:
        for name in [entry.name for entry in entries if _SIDE_NAME.fullmatch(entry.name)]:
            os.unlink(name, dir_fd=side)


def _carry(
    target: int, tree: Tree, gathered: tuple[GatheredFile, ...], listener: Listener
) -> tuple[FileEntry, ...]:
    """Copy what is to be carried to `llmux/` as 0, 1, 2, ..., and return all entries."""
    with suppress(FileExistsError):
        os.mkdir(SIDE_DIRECTORY, 0o700, dir_fd=target)
    meter = Meter(listener, Phase.CARRY, (file.entry.size for file in gathered if file.carry))
    numbers = map(str, count())
    with open_side_directory(target) as side:
        return tuple(
            _carry_one(side, next(numbers), tree, file, meter) if file.carry else file.entry
            for file in gathered
        )


def _carry_one(side: int, name: str, tree: Tree, file: GatheredFile, meter: Meter) -> FileEntry:
    path = file.entry.names[0]
    with meter.file(path, file.entry.size) as advance:
        digest, segments = _copy_out(side, name, tree, file, advance)
    return file.entry.model_copy(update={"digest": digest, "carried": name, "data": segments})


def _copy_out(
    side: int, name: str, tree: Tree, file: GatheredFile, advance: Advance
) -> tuple[str, Segments | None]:
    path = file.entry.names[0]
    try:
        with tree.open_file(path, os.O_RDONLY | os.O_NOATIME) as source:
            return _copy_to_side(side, name, source, file, advance)
    except ShortReadError as error:
        raise CaptureFailed.too_short(path, counted(file.entry.size, "byte")) from error
    except OSError as error:
        if error.errno in _NO_ROOM:  # of the copy: reading needs none
            raise
        raise CaptureFailed(path, error.strerror or str(error)) from error


def _copy_to_side(
    side: int, name: str, source: int, file: GatheredFile, advance: Advance
) -> tuple[str, Segments | None]:
    status = os.fstat(source)
    if (status.st_dev, status.st_ino) != file.inode.identity:
        raise CaptureFailed(file.entry.names[0], "somebody replaced it during the capture")
    copy = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=side
    )
    size, algorithm = file.entry.size, choose_algorithm(status)
    try:
        segments = few_segments(source, size, algorithm)
        return copy_file(source, copy, size, algorithm, advance, segments=segments), segments
    finally:
        os.close(copy)


def list_images(directory: int, listener: Listener = ignore) -> tuple[ImageEntry, ...]:
    """Return CRIU's images in an open directory, sorted by name, each with its digest; raises OSError."""
    names = image_names(directory)
    sizes = [os.stat(name, dir_fd=directory, follow_symlinks=False).st_size for name in names]
    meter = Meter(listener, Phase.DIGEST_IMAGES, sizes)
    return tuple(_image_entry(directory, name, size, meter) for name, size in zip(names, sizes, strict=True))


def _image_entry(directory: int, name: str, size: int, meter: Meter) -> ImageEntry:
    algorithm = Algorithm.WHOLE if size <= _WHOLE_IMAGE else Algorithm.SAMPLED
    with meter.file(name.encode(), size) as advance:
        try:
            with open_file(name, directory) as fd:
                return ImageEntry(name=name, size=size, digest=digest_file(fd, size, algorithm, advance))
        except ShortReadError as error:
            raise CaptureFailed(name.encode(), "somebody changed this image during the capture") from error
        except OSError as error:
            raise CaptureFailed(name.encode(), error.strerror or str(error)) from error


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


def _warnings(root_task: Pid, gathered: tuple[GatheredFile, ...]) -> Iterator[str]:
    if not observe.is_alive(root_task):
        yield f"the dump's root task {root_task} did not exist any more at the capture: what was captured may not be what was dumped"
    for file in gathered:
        elsewhere = file.inode.links - len(file.entry.names)
        if file.carry and elsewhere > 0:
            yield f"{escape(file.entry.names[0])} has {counted(elsewhere, 'more hard link')} out of reach, which a restore does not join"
    undigested = sizes_without_digest(file.entry for file in gathered if not file.carry)
    if undigested:
        yield f"{counted(len(undigested), 'file')} of {counted(sum(undigested), 'byte')} that are not carried have no digest: what differs in content alone is not found there"
