"""The library's errors: one root, each with the fields that say what happened, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from llmux.criu_images._error import CriuImagesError, ExitCode
from llmux.criu_images._paths import escape

__all__ = [
    "AlreadyCaptured",
    "ArchiveRefused",
    "CaptureFailed",
    "CriuImagesError",
    "DamagedImage",
    "DependencyMissing",
    "ExitCode",
    "HolderFailed",
    "ImagesDiffer",
    "ImagesUnwritable",
    "JournalInvalid",
    "ManifestInvalid",
    "ManifestMissing",
    "ManifestVersion",
    "NotADump",
    "PolicyInvalid",
    "PolicyUnreadable",
    "PycriuIncompatible",
    "PycriuMissing",
    "RebuildFailed",
    "RebuildRefused",
    "SideFileDiffers",
    "UndoIncomplete",
    "UnreadableImage",
    "UnsafeLink",
    "WriteError",
]


_LONGEST_NAME = 4096
"""Characters of a name that is shown: none that a file can have is longer."""


def _shown(path: str) -> str:
    """Write a path of the file system, as Python decodes it, on one printable line."""
    return escape(path.encode("utf-8", "surrogateescape"))


@dataclass(eq=False)
class DamagedImage(CriuImagesError):
    """An image file holds something that CRIU never writes."""

    hint: str = field(default="Make the dump again, or copy its images again in full.", kw_only=True)
    image: str
    """The image's file name."""
    why: str
    entry: int | None = None
    """The entry's number, from 0; None where the file itself is wrong."""
    field: str | None = None
    """The dotted path of the field within the entry."""
    offset: int | None = None
    """Bytes from the start of the file."""

    def what(self) -> str:
        places = (
            self.image,
            None if self.entry is None else f"entry {self.entry}",
            None if self.field is None else f"field {self.field}",
            None if self.offset is None else f"byte {self.offset}",
        )
        return f"damaged image: {', '.join(place for place in places if place)}: {self.why}"


@dataclass(eq=False)
class NotADump(CriuImagesError):
    """A directory that is no CRIU dump, or not a whole one."""

    directory: str
    why: str
    hint: str = field(
        default="Give the directory that `criu dump --images-dir` wrote to, or a checkpoint archive of podman or CRI-O.",
        kw_only=True,
    )

    def what(self) -> str:
        return f"{_shown(self.directory)} is not a CRIU dump: {self.why}"


@dataclass(eq=False)
class ArchiveRefused(CriuImagesError):
    """A checkpoint archive that is cut short or damaged, or has members that no engine writes."""

    hint: str = field(
        default="Export the checkpoint again, or unpack it where it can do no harm and give the directory of its images.",
        kw_only=True,
    )
    archive: str
    why: str
    member: str | None = None
    """The name of the member that is wrong, as the archive gives it."""

    def what(self) -> str:
        where = "" if self.member is None else f", member {_shown(self.member[:_LONGEST_NAME])}"
        return f"damaged archive {_shown(self.archive)}{where}: {self.why}"


@dataclass(eq=False)
class UnreadableImage(CriuImagesError):
    """The operating system refused an image, or it is not a regular file."""

    path: str
    why: str

    def what(self) -> str:
        return f"can't read {_shown(self.path)}: {self.why}"


@dataclass(eq=False)
class DependencyMissing(CriuImagesError):
    """A Python package that llmux depends on is not installed."""

    exit_code: ClassVar[ExitCode] = ExitCode.WRONG_USE
    package: str
    """Its name for pip."""
    python: str
    """The interpreter that lacks it."""
    hint: str = field(
        default="Install llmux with pip in the Python that you call, or call the one that has llmux",
        kw_only=True,
    )

    def what(self) -> str:
        return f"the Python package {self.package} is missing in {_shown(self.python)}"


@dataclass(eq=False)
class PycriuMissing(CriuImagesError):
    """CRIU's own Python package, which describes the images' format, is not installed."""

    exit_code: ClassVar[ExitCode] = ExitCode.WRONG_USE
    searched: tuple[str, ...]
    hint: str = field(
        default="It comes with CRIU, not from a Python index: install python3-pycriu of CRIU 4.2 or newer (Debian, Ubuntu).",
        kw_only=True,
    )

    def what(self) -> str:
        return f"no Python package pycriu, neither on Python's own path nor in {', '.join(self.searched)}"


@dataclass(eq=False)
class PycriuIncompatible(CriuImagesError):
    """The pycriu that was found can't be used with this Python or this protobuf."""

    exit_code: ClassVar[ExitCode] = ExitCode.WRONG_USE
    origin: str
    """Where it was found."""
    why: str
    hint: str = field(
        default="Use python3-pycriu of CRIU 4.2 or newer with protobuf 6.30 or newer.", kw_only=True
    )

    def what(self) -> str:
        return f"the pycriu in {self.origin} can't be used: {self.why}"


@dataclass(eq=False)
class WriteError(CriuImagesError):
    """Root of what capture, plan, rebuild, undo and verify raise."""


@dataclass(eq=False)
class ManifestMissing(WriteError):
    """A directory of images without a manifest: never captured, or captured by a run that failed."""

    path: bytes
    hint: str = field(
        default="Dump again with --action-script llmux-criu-hook, or run capture while the tree is frozen",
        kw_only=True,
    )

    def what(self) -> str:
        return f"{escape(self.path)}: no manifest"


@dataclass(eq=False)
class ManifestInvalid(WriteError):
    """A manifest that is not what capture wrote."""

    path: bytes
    why: str
    hint: str = field(
        default="The file was edited or damaged: copy the checkpoint again, or dump again", kw_only=True
    )

    def what(self) -> str:
        return f"{escape(self.path)}: not a valid manifest: {self.why}"


@dataclass(eq=False)
class ManifestVersion(WriteError):
    """A manifest of a format that this release does not read."""

    path: bytes
    found: str
    known: int
    hint: str = field(
        default="Restore with the release of llmux that made the dump, or dump again", kw_only=True
    )

    def what(self) -> str:
        return f"{escape(self.path)}: manifest version {self.found}, this release reads version {self.known}"


@dataclass(eq=False)
class ImagesDiffer(WriteError):
    """The images beside a manifest are not the ones it was made for."""

    image: str
    why: str
    hint: str = field(
        default="The images are damaged or of another dump: copy the checkpoint again, or dump again",
        kw_only=True,
    )

    def what(self) -> str:
        return f"image {self.image}: {self.why}"


@dataclass(eq=False)
class SideFileDiffers(WriteError):
    """A file that capture carried is not there as it was written."""

    name: str
    why: str
    hint: str = field(default="The checkpoint is damaged: copy it again, or dump again", kw_only=True)

    def what(self) -> str:
        return f"side file llmux/{self.name}: {self.why}"


@dataclass(eq=False)
class AlreadyCaptured(WriteError):
    """The images have a manifest that was made for them; what it recorded may be nowhere else."""

    exit_code: ClassVar[ExitCode] = ExitCode.WRONG_USE
    path: bytes
    hint: str = field(
        default="Keep it, or replace it with `capture --again` if the tree is still as it was dumped",
        kw_only=True,
    )

    def what(self) -> str:
        return f"{escape(self.path)}: this dump is captured already"


@dataclass(eq=False)
class CaptureFailed(WriteError):
    """Something that a restore will need could not be captured; the dump must not count."""

    path: bytes
    why: str

    def what(self) -> str:
        return f"cannot capture {escape(self.path)}: {self.why}"

    @classmethod
    def too_short(cls, path: bytes, expected: str) -> CaptureFailed:
        return cls(path, f"it is shorter than the {expected} of the dump")


@dataclass(eq=False)
class ImagesUnwritable(CaptureFailed):
    """The directory of the images has no room, or lets nobody write: nothing is wrong with the dump, and nothing of the capture is left."""

    exit_code: ClassVar[ExitCode] = ExitCode.WRONG_USE

    def what(self) -> str:
        return f"cannot write the capture to {escape(self.path)}: {self.why}"


@dataclass(eq=False)
class PolicyInvalid(WriteError):
    """A rule that is not written as rules are."""

    exit_code: ClassVar[ExitCode] = ExitCode.WRONG_USE
    where: str
    """The file or option, and the line in it."""
    rule: str
    word: str
    """What of the rule is wrong."""
    why: str

    def what(self) -> str:
        return f"{self.where}: in the rule `{self.rule}`, `{self.word}` {self.why}"


@dataclass(eq=False)
class PolicyUnreadable(WriteError):
    """A policy file that cannot be read, or that others could have written."""

    exit_code: ClassVar[ExitCode] = ExitCode.WRONG_USE
    path: bytes
    why: str

    def what(self) -> str:
        return f"policy {escape(self.path)}: {self.why}"


@dataclass(eq=False)
class UnsafeLink(WriteError):
    """A symbolic link on the way that somebody other than root could have put there."""

    path: bytes
    link: bytes
    owner: int
    hint: str = field(default="Remove the link, or make it root's own if it belongs there", kw_only=True)

    def what(self) -> str:
        return f"{escape(self.path)}: the symbolic link {escape(self.link)} on the way belongs to user {self.owner}"


@dataclass(eq=False)
class RebuildRefused(WriteError):
    """The plan has conflicts; nothing was touched. `conflicts` are their texts, one a line."""

    exit_code: ClassVar[ExitCode] = ExitCode.CONFLICTS
    conflicts: tuple[str, ...]

    def what(self) -> str:
        return "cannot restore here:\n" + "\n".join(self.conflicts)


@dataclass(eq=False)
class RebuildFailed(WriteError):
    """An action of the plan could not be carried out; what was made before it has been taken back."""

    exit_code: ClassVar[ExitCode] = ExitCode.CONFLICTS
    path: bytes
    why: str

    def what(self) -> str:
        return f"cannot rebuild {escape(self.path)}: {self.why}"


@dataclass(eq=False)
class HolderFailed(WriteError):
    """The process that holds the names of peers outside the dump could not do so."""

    exit_code: ClassVar[ExitCode] = ExitCode.CONFLICTS
    path: bytes
    """The first of the names."""
    why: str
    hint: str = field(default="Start the program that has its socket there before the restore", kw_only=True)

    def what(self) -> str:
        return f"cannot hold {escape(self.path)} for the restore: {self.why}"


@dataclass(eq=False)
class UndoIncomplete(WriteError):
    """Something that a rebuild made has changed since or is in use, and was left; the journal is forgotten."""

    exit_code: ClassVar[ExitCode] = ExitCode.CONFLICTS
    paths: tuple[bytes, ...]
    hint: str = field(
        default="It is yours from now on, no later undo takes it back: remove it if nobody needs it",
        kw_only=True,
    )

    def what(self) -> str:
        return f"not taken back: {', '.join(map(escape, self.paths))}"


@dataclass(eq=False)
class JournalInvalid(WriteError):
    """A rebuild's journal that cannot be used."""

    exit_code: ClassVar[ExitCode] = ExitCode.WRONG_USE
    path: bytes
    why: str
    hint: str = field(
        default="Make room there and let root write there (in a read-only container: a tmpfs at /run), or give another file with --journal",
        kw_only=True,
    )

    def what(self) -> str:
        return f"journal {escape(self.path)}: {self.why}"
