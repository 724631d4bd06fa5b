"""Checks that images and side files are the ones that the manifest was written for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmux.criu_images._actions import Conflict, path_conflict
from llmux.criu_images._counted import counted
from llmux.criu_images._digest import ShortReadError, algorithm_of, digest_file
from llmux.criu_images._paths import RawPath
from llmux.criu_images.errors import ImagesDiffer, ManifestInvalid, ManifestMissing, SideFileDiffers
from llmux.criu_images.manifest import (
    MANIFEST_NAME,
    SIDE_DIRECTORY,
    FileEntry,
    ImageEntry,
    Manifest,
    fingerprint_of,
    parse_manifest,
)

_MOST_BYTES = 256 << 20
"""No manifest is larger; a file that is would only fill the memory."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest beside the images in `directory`, or in a checkpoint archive; raises ManifestMissing, ManifestInvalid, ManifestVersion."""
    path = directory / MANIFEST_NAME
    try:
        data = _archived_manifest(directory) if directory.is_file() else _read(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ManifestMissing(os.fsencode(directory)) from error
    except OSError as error:
        raise ManifestInvalid(os.fsencode(path), error.strerror or str(error)) from error
    return parse_manifest(data, os.fsencode(path))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _archived_manifest(archive: Path) -> bytes:
    from llmux.criu_images._archive import ArchiveSource  # noqa: PLC0415 - it reads images: a restore does not wait for protobuf

    data = ArchiveSource(os.fspath(archive)).manifest()
    if data is None:
        raise ManifestMissing(os.fsencode(archive))
    return data


def verify(directory: Path) -> Manifest:
    """Check every image and every side file against the manifest, and return that.

    Page images are checked by size and by samples, as they were recorded. Raises ImagesDiffer, SideFileDiffers and what `read_manifest` raises.
    """
    manifest = read_manifest(directory)
    check_images(directory, manifest)
    check_side_files(directory, manifest)
    return manifest


def open_to_all(directory: Path) -> Iterator[Conflict]:
    """Find what of a checkpoint every user may change: between our look and CRIU's, they would choose what root restores."""
    for path in (directory, directory / SIDE_DIRECTORY, directory / MANIFEST_NAME):
        with suppress(FileNotFoundError):
            if path.stat().st_mode & stat.S_IWOTH:
                advice = "Run `chmod o-w` on it, and restore only if you trust what is in it."
                yield path_conflict(
                    RawPath(os.fsencode(path)), "every user may write to the checkpoint", None, advice
                )


def check_images(directory: Path, manifest: Manifest) -> None:
    """Check the images alone; raises ImagesDiffer."""
    if fingerprint_of(manifest.images) != manifest.fingerprint:
        raise ImagesDiffer("(all)", "the manifest's list of images does not fit its own fingerprint")
    with _opened(directory, _DIRECTORY) as fd, os.scandir(fd) as entries:
        extra = {entry.name for entry in entries if entry.name.endswith(".img")}
        for image in manifest.images:
            _check_image(fd, image)
            extra.discard(image.name)
    if extra:
        raise ImagesDiffer(min(extra), "not in the manifest")


def _check_image(directory: int, image: ImageEntry) -> None:
    why = _difference(directory, image.name, image.size, image.digest)
    if why is not None:
        raise ImagesDiffer(image.name, why)


def check_side_files(directory: Path, manifest: Manifest) -> None:
    """Check the carried files' copies; raises SideFileDiffers."""
    carried = [file for file in manifest.files if file.carried is not None]
    if not carried:
        return
    try:
        with _opened(directory / SIDE_DIRECTORY, _DIRECTORY) as fd:
            for file in carried:
                _check_side_file(fd, file)
    except FileNotFoundError as error:
        raise SideFileDiffers(carried[0].carried or "", "missing, and so is their directory") from error


def _check_side_file(directory: int, file: FileEntry) -> None:
    if file.carried is None or file.digest is None:
        raise SideFileDiffers(file.carried or "", "the manifest has no digest of it")
    why = _difference(directory, file.carried, file.size, file.digest)
    if why is not None:
        raise SideFileDiffers(file.carried, why)


def _difference(directory: int, name: str, size: int, digest: str) -> str | None:
    """Say how a file differs from what was recorded, or None."""
    try:
        with _opened(name, _FILE, directory) as fd:
            found = os.fstat(fd).st_size
            if found != size:
                return f"has {counted(found, 'byte')}, the manifest has {size}"
            if digest_file(fd, size, algorithm_of(digest)) != digest:
                return "its digest differs from the manifest's"
    except FileNotFoundError:
        return "missing"
    except ShortReadError:
        return "it shrank while it was read"
    except OSError as error:
        return error.strerror or str(error)
    return None


@contextmanager
def _opened(path: str | Path, flags: int, directory: int | None = None) -> Iterator[int]:
    fd = os.open(path, flags, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)
