"""Checks that images and side files are the ones that the manifest was written for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from llmux.criu_images._actions import Conflict, path_conflict
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
from llmux.criu_images._digest import ShortReadError, algorithm_of, digest_file
from llmux.criu_images._paths import RawPath
from llmux.criu_images._progress import Advance, Listener, Meter, Phase, ignore, passing_on
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


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest beside the images in `directory`, or in a checkpoint archive; raises ManifestMissing, ManifestInvalid, ManifestVersion."""
    path = directory / MANIFEST_NAME
    try:
        data = _archived_manifest(directory) if directory.is_file() else _read(directory)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ManifestMissing(os.fsencode(directory)) from error
    except OSError as error:
        raise ManifestInvalid(os.fsencode(path), error.strerror or str(error)) from error
    return parse_manifest(data, os.fsencode(path))


def _read(directory: Path) -> bytes:
    with (
        open_directory(directory) as fd,
        open_file(MANIFEST_NAME, fd) as manifest,
        os.fdopen(manifest, "rb", closefd=False) as file,
    ):
        return file.read(_MOST_BYTES)


def _archived_manifest(archive: Path) -> bytes:
    from llmux.criu_images._archive import ArchiveSource  # noqa: PLC0415 - it reads images: a restore does not wait for protobuf

    data = ArchiveSource(os.fspath(archive)).manifest()
    if data is None:
        raise ManifestMissing(os.fsencode(archive))
    return data


@passing_on()
def verify(directory: Path, *, progress: Listener = ignore) -> Manifest:
    """Check every image and every side file against the manifest, and return that.

    Page images are checked by size and by samples, as they were recorded. `progress` is told how far it is.
    Raises ImagesDiffer, SideFileDiffers and what `read_manifest` and `progress` raise.
    """
    manifest = read_manifest(directory)
    check_images(directory, manifest, progress)
    check_side_files(directory, manifest, progress)
    return manifest


def open_to_all(directory: Path) -> Iterator[Conflict]:
    """Find what of a checkpoint every user may change: between our look and CRIU's, they would choose what root restores."""
    for path in (directory, *_parts(directory)):
        with suppress(FileNotFoundError):
            if path.stat().st_mode & stat.S_IWOTH:
                advice = "Run `chmod o-w` on it, and restore only if you trust what is in it."
                yield path_conflict(
                    RawPath(os.fsencode(path)), "every user may write to the checkpoint", None, advice
                )


def _parts(directory: Path) -> Iterator[Path]:
    """Yield what is of a checkpoint in its directory."""
    yield from (directory / SIDE_DIRECTORY, directory / MANIFEST_NAME)
    with open_directory(directory) as fd:
        yield from (directory / name for name in image_names(fd))
        with suppress(OSError), open_side_directory(fd) as side:
            yield from (directory / SIDE_DIRECTORY / name for name in os.listdir(side))  # noqa: PTH208 - pathlib can't list a descriptor


def check_images(directory: Path, manifest: Manifest, listener: Listener = ignore) -> Mapping[str, Stamp]:
    """Check the images alone, and return how they were then, for `check_unchanged`; raises ImagesDiffer."""
    if fingerprint_of(manifest.images) != manifest.fingerprint:
        raise ImagesDiffer("(all)", "the manifest's list of images does not fit its own fingerprint")
    meter = Meter(listener, Phase.CHECK_IMAGES, (image.size for image in manifest.images))
    with open_directory(directory) as fd, os.scandir(fd) as entries:
        extra = {entry.name for entry in entries if entry.name.endswith(".img")}
        stamps = read_stamps(fd)
        for image in manifest.images:
            with meter.file(image.name.encode(), image.size) as advance:
                _check_image(fd, image, advance)
            extra.discard(image.name)
    if extra:
        raise ImagesDiffer(min(extra), "not in the manifest")
    return stamps


def check_unchanged(directory: Path, stamps: Mapping[str, Stamp]) -> None:
    """Check that nobody has touched an image since `check_images`; raises ImagesDiffer."""
    with open_directory(directory) as fd:
        changed = find_changed(stamps, fd)
    if changed is not None:
        raise ImagesDiffer(changed, "somebody changed it after it was checked")


def _check_image(directory: int, image: ImageEntry, advance: Advance) -> None:
    why = _difference(directory, image.name, image.size, image.digest, advance)
    if why is not None:
        raise ImagesDiffer(image.name, why)


def check_side_files(directory: Path, manifest: Manifest, listener: Listener = ignore) -> None:
    """Check the carried files' copies; raises SideFileDiffers."""
    carried = [file for file in manifest.files if file.carried is not None]
    if not carried:
        return
    meter = Meter(listener, Phase.CHECK_COPIES, (file.size for file in carried))
    try:
        with open_directory(directory) as images, open_side_directory(images) as side:
            for file in carried:
                with meter.file(
                    b"%s/%s" % (SIDE_DIRECTORY.encode(), (file.carried or "").encode()), file.size
                ) as advance:
                    _check_side_file(side, file, advance)
    except FileNotFoundError as error:
        raise SideFileDiffers(carried[0].carried or "", "missing, and so is their directory") from error
    except OSError as error:
        raise SideFileDiffers("", error.strerror or str(error)) from error


def _check_side_file(directory: int, file: FileEntry, advance: Advance) -> None:
    if file.carried is None or file.digest is None:
        raise SideFileDiffers(file.carried or "", "the manifest has no digest of it")
    why = _difference(directory, file.carried, file.size, file.digest, advance)
    if why is not None:
        raise SideFileDiffers(file.carried, why)


def _difference(directory: int, name: str, size: int, digest: str, advance: Advance) -> str | None:
    """Say how a file differs from what was recorded, or None."""
    try:
        with open_file(name, directory) as fd:
            found = os.fstat(fd).st_size
            if found != size:
                return f"has {counted(found, 'byte')}, the manifest has {size}"
            if digest_file(fd, size, algorithm_of(digest), advance) != digest:
                return "its digest differs from the manifest's"
    except FileNotFoundError:
        return "missing"
    except ShortReadError:
        return "it shrank while it was read"
    except OSError as error:
        return error.strerror or str(error)
    return None
