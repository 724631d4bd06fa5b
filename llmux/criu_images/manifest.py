r"""The manifest that capture writes beside the images, `llmux-manifest.json`: what a restore needs and how it was.

Format version 1; docs/manifest.md explains every field and what may change. Paths are raw bytes here and escaped text in
JSON (``\\``, ``\n``, ``\xNN``; see `_paths.py`). Modes are the full `st_mode`; times are nanoseconds since 1970.
"""

from __future__ import annotations

import enum
import hashlib
import json
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError

from llmux.criu_images._nvidia import NvidiaDriver
from llmux.criu_images._paths import RawPath, escape, unescape
from llmux.criu_images.errors import ManifestInvalid, ManifestVersion

VERSION = 1
MANIFEST_NAME = "llmux-manifest.json"
SIDE_DIRECTORY = "llmux"


def _to_bytes(value: object) -> RawPath:
    match value:
        case bytes():
            return RawPath(value)
        case str():
            return unescape(value)
        case _:
            raise ValueError("must be escaped text")


def _to_tree_path(value: object) -> RawPath:
    """Accept only what a walk from the root takes literally: a manifest from elsewhere is not trusted."""
    path = _to_bytes(value)
    if path == b"/":
        return path
    parts = path.split(b"/")
    if (
        not path.startswith(b"/")
        or b"\0" in bytes(path)
        or any(part in {b"", b".", b".."} for part in parts[1:])
    ):
        raise ValueError("must be an absolute path without empty, '.' or '..' parts")
    return path


RawBytes = Annotated[RawPath, PlainValidator(_to_bytes), PlainSerializer(escape, return_type=str)]
TreePath = Annotated[RawPath, PlainValidator(_to_tree_path), PlainSerializer(escape, return_type=str)]
Digest = Annotated[str, Field(pattern=r"\A(sha256|sha256-sparse|sha256-sampled):[0-9a-f]{64}\z")]
SideName = Annotated[str, Field(pattern=r"\A[0-9]{1,9}\z")]
ImageName = Annotated[str, Field(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.img\z")]
Natural = Annotated[int, Field(ge=0)]
Offset = Annotated[int, Field(ge=0, lt=1 << 63)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Origin(enum.Enum):
    """Where a file comes from, and so whether a fresh container has it."""

    IMAGE = "image"
    """In the container's image (or made by the container's engine or the kernel)."""
    VOLUME = "volume"
    """On a mount that a fresh container is expected to get too."""
    RUN_TIME = "run-time"
    """Made since the container started; a fresh one lacks it."""
    NODE = "node"
    """Of the node's NVIDIA driver: the container's runtime brings the node's own."""


class Xattr(_Frozen):
    """One extended attribute, POSIX ACLs and file capabilities included."""

    name: RawBytes
    value: RawBytes


class Metadata(_Frozen):
    """What a made file, directory or FIFO gets besides its content."""

    mode: Natural
    uid: Natural
    gid: Natural
    mtime_ns: int
    atime_ns: int
    xattrs: tuple[Xattr, ...] = ()
    flags: Natural = 0
    """Of chattr(1), FS_*_FL of linux/fs.h: immutable (16), append-only (32), no dump (64)."""


class DirectoryEntry(_Frozen):
    """A directory that something below it, a cwd or a descriptor needs."""

    path: TreePath
    origin: Origin
    reason: str
    metadata: Metadata
    demanded_mode: Natural | None = None
    """The st_mode that CRIU compares ("has bad mode"); None where it is only passed through."""


class FileEntry(_Frozen):
    """One regular file: an inode with every name of it that matters."""

    names: Annotated[tuple[TreePath, ...], Field(min_length=1)]
    consumed: tuple[TreePath, ...] = ()
    """Those of `names` that are CRIU's link remaps: a successful restore unlinks them."""
    origin: Origin
    reason: str
    mount: TreePath
    """The mount point that holds it."""
    metadata: Metadata
    size: Natural
    """The length at the dump, in bytes, and that of the carried copy."""
    demanded_size: Natural | None = None
    demanded_mode: Natural | None = None
    build_id: Annotated[str, Field(pattern=r"\A[0-9a-f]+\z")] | None = None
    """The GNU build-id note in hex, as in the images."""
    inode: Natural | None = None
    """With `ctime_ns` it tells the very file of the same image layer on this machine."""
    ctime_ns: int | None = None
    written: bool = False
    """Some process holds it open for writing, or maps it shared and writable."""
    digest: Digest | None = None
    carried: SideName | None = None
    """Its content's name in `llmux/`; None where the file is not carried."""
    data: tuple[tuple[Natural, Natural], ...] | None = None
    """Of a carried file with holes: where it has data, from and up to an offset. None if it has no holes, or too many."""


class FifoEntry(_Frozen):
    """A named pipe's node; the data in it is in the images."""

    path: TreePath
    origin: Origin
    reason: str
    metadata: Metadata


class SymlinkEntry(_Frozen):
    """A symbolic link that a path of the dump goes through."""

    path: TreePath
    target: RawBytes
    origin: Origin
    reason: str
    metadata: Metadata


class NodeEntry(_Frozen):
    """A device, or a file of the kernel's own file systems: must exist, is never made."""

    path: TreePath
    reason: str
    mode: Natural
    rdev: Natural
    demanded_mode: Natural | None = None


class FreeKind(enum.Enum):
    """Why nothing of another kind may sit at a path."""

    SOCKET = "socket"
    LINKED_NAME = "linked name"
    GHOST_NAME = "ghost name"


class FreeName(_Frozen):
    """A path at which the restore makes something itself; its directory must exist."""

    path: TreePath
    kind: FreeKind
    reason: str
    remap_id: Natural | None = None
    """The ghost's number: CRIU makes it as `PATH.cr.NUMBER.ghost`."""


class SocketEntry(_Frozen):
    """One Unix socket of the dump, as documentation and for its external peers and abstract names."""

    inode: Natural
    type: str
    state: str
    name: RawBytes
    bind_path: RawBytes | None
    """Absolute, and as bind(2) was given it: it may hold `..`; FreeName has the real path."""
    abstract: bool
    external: bool
    peer: Natural | None
    peer_name: RawBytes | None
    pids: tuple[Natural, ...]
    node: Metadata | None = None
    """Of an external peer's socket at its path, where there was one at the capture."""
    own_network: bool = False
    """It is in a network namespace that the dump owns: nobody else can have its abstract name."""


class PortEntry(_Frozen):
    """A listening or bound inet port that must be free."""

    family: Natural
    protocol: Natural
    type: str
    address: str
    port: Natural
    v6only: bool
    pids: tuple[Natural, ...]


class LockKind(enum.Enum):
    """Whose lock it is, as /proc/locks calls it."""

    POSIX = "POSIX"
    """A process's, on a range (F_SETLK)."""
    FLOCK = "flock"
    """An open file description's, on the whole file."""
    OFD = "OFD"
    """An open file description's, on a range (F_OFD_SETLK)."""
    LEASE = "lease"
    """F_SETLEASE."""


class LockEntry(_Frozen):
    """One file lock that a restore with `--file-locks` takes again."""

    path: TreePath
    kind: LockKind
    exclusive: bool
    """A write lock or lease; else others may hold a read lock beside it."""
    start: Offset
    length: Offset
    """In bytes; 0: to the end, however far that is."""
    pid: Natural
    fd: Natural


class MountEntry(_Frozen):
    """One line of the tree's mountinfo."""

    mountpoint: TreePath
    root: RawBytes
    fstype: str
    source: RawBytes
    needed: bool
    """A file on it was recorded but not carried."""


class ImageEntry(_Frozen):
    """One of CRIU's images; the larger ones are digested by samples."""

    name: ImageName
    size: Natural
    digest: Digest


class Host(_Frozen):
    """The machine and the programs that made the dump."""

    name: str
    kernel: str
    machine: str
    cpu_model: str
    cpu_features: tuple[str, ...]
    criu: str | None
    """CRIU's version where the caller knew it: the images do not say."""
    llmux: str


class CaptureCost(_Frozen):
    """What a capture took and what it saved."""

    microseconds: Natural
    """Of the tree's frozen time, up to the writing of the manifest."""
    carried_files: Natural
    carried_bytes: Natural
    """The carried files' sizes."""
    data_bytes: Natural
    """The same without their holes."""
    digested_bytes: Natural
    """Read for the digests of files that are not carried."""
    difference_bytes: Natural | None
    """Without holes, what an export of the whole container carries: its writable layer and /dev/shm; None where that is not known."""
    difference_known_by: str

    @property
    def saved_bytes(self) -> int | None:
        """How many bytes less were carried than the whole difference, or None."""
        return None if self.difference_bytes is None else self.difference_bytes - self.data_bytes


class Manifest(_Frozen):
    """All that a restore of one dump needs outside the images."""

    version: Literal[1] = 1
    seal: str = ""
    """What `seal_of` makes of the rest: finds an edit, proves no author."""
    created_at: datetime
    root_task: Natural
    ids: tuple[Natural, ...]
    """Every PID, TID, PGID and SID that must be free."""
    threads: tuple[Natural, ...] = ()
    """Those of `ids` that are threads beside a process's first."""
    container_started_ns: int
    container_started_by: str
    """How the container's start was found out."""
    host: Host
    nvidia: NvidiaDriver | None = None
    """The dump's node's, where the dump has anything of it; with the GPUs that the container saw, where a process had loaded CUDA."""
    directories: tuple[DirectoryEntry, ...]
    """Sorted by path, so that a parent comes before its children."""
    files: tuple[FileEntry, ...]
    fifos: tuple[FifoEntry, ...] = ()
    symlinks: tuple[SymlinkEntry, ...] = ()
    nodes: tuple[NodeEntry, ...] = ()
    free_names: tuple[FreeName, ...] = ()
    sockets: tuple[SocketEntry, ...] = ()
    ports: tuple[PortEntry, ...] = ()
    locks: tuple[LockEntry, ...] = ()
    mounts: tuple[MountEntry, ...] = ()
    images: tuple[ImageEntry, ...] = ()
    fingerprint: str
    """SHA-256 over `images`."""
    policy: tuple[str, ...] = ()
    """The capture's rules in their order; empty for the default."""
    cost: CaptureCost | None = None
    warnings: tuple[str, ...] = ()

    @property
    def max_id(self) -> int:
        """The highest id of the dump, 0 without any."""
        return max(self.ids, default=0)

    def sealed(self) -> Manifest:
        """Return the same manifest with its seal set."""
        return self.model_copy(update={"seal": seal_of(json.loads(self.to_json()))})

    def to_json(self) -> bytes:
        """Return the file's bytes."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def seal_of(content: dict[str, object]) -> str:
    """Return the seal of a manifest's JSON: of what the file says, so that a field which it lacks changes nothing.

    SHA-256 over the JSON without its seal, keys sorted, no white space, ASCII only.
    """
    unsealed = {name: value for name, value in content.items() if name != "seal"}
    return hashlib.sha256(json.dumps(unsealed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def fingerprint_of(images: tuple[ImageEntry, ...]) -> str:
    """Return the SHA-256 over the images' names, sizes and digests, in the order given."""
    lines = "".join(f"{image.name} {image.size} {image.digest}\n" for image in images)
    return hashlib.sha256(lines.encode()).hexdigest()


def parse_manifest(data: bytes, path: bytes) -> Manifest:
    """Parse a manifest file's bytes; `path` is for messages. Raises ManifestInvalid, ManifestVersion."""
    content = _content_of_this_version(data, path)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ManifestInvalid(path, _first_problem(error)) from error
    if manifest.seal != seal_of(content):
        raise ManifestInvalid(path, "its seal does not fit its content")
    return manifest


def _content_of_this_version(data: bytes, path: bytes) -> dict[str, object]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(path, f"not JSON ({error})") from error
    found = content.get("version") if isinstance(content, dict) else None
    if found is None:
        raise ManifestInvalid(path, "no field 'version'")
    if found != VERSION:
        raise ManifestVersion(path, str(found)[:40], VERSION)
    whole: dict[str, object] = content
    return whole


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}"
