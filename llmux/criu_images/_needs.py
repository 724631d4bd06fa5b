"""What a restore has to be given besides paths, sockets, ports and ids; and what it does not bring back."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from llmux.criu_images._counted import stretch
from llmux.criu_images._enums import (
    SELF_CONTAINED,
    FileType,
    MappingKind,
    NamespaceKind,
    NetDeviceType,
    SocketState,
    SocketType,
    TerminalType,
)
from llmux.criu_images._ids import NamespaceId, Pid
from llmux.criu_images._nvidia import CUDA_PLUGIN, is_cuda, library_version
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import (
    Dump,
    File,
    FileLock,
    InetSocket,
    Memfd,
    NetlinkSocket,
    Notify,
    OtherFile,
    PacketSocket,
    RegularFile,
    Task,
    Terminal,
    TunFile,
    UnixSocket,
)
from llmux.criu_images._users import Role, User, Users


class NeedKind(enum.Enum):
    """What else a restore has to be given."""

    INHERITED_FILE = "inherited file"
    """`--inherit-fd` with this key."""
    EXTERNAL_PEER = "external peer"
    """`--ext-unix-sk` and a live socket of this name."""
    ESTABLISHED_TCP = "established TCP"
    """`--tcp-established` and the same address, or `--tcp-close`."""
    PLUGIN = "CRIU plugin"
    """`--libdir` with this plugin in it."""
    TERMINAL = "terminal"
    """`--shell-job`: a terminal of the caller's, as this one's master is not in the dump."""
    FILE_LOCK = "file lock"
    """`--file-locks`; no other process may hold it."""
    FILE_TYPE = "file type"
    """Whatever CRIU asks for a file of this type."""
    NETWORK_DEVICE = "network device"
    """A network device of this name or index, made by somebody else."""
    CAPABILITY = "capability"
    """A right of the restoring criu that this takes."""
    LSM_PROFILE = "security profile"
    """An AppArmor profile or SELinux label of this name, loaded, of the same security module (`validate_lsm`)."""
    CONTROL_GROUP = "control group"
    """CRIU moves tasks there, and makes it where it is missing, unless told `--manage-cgroups=ignore`."""
    HUGE_PAGES = "huge pages"
    """So many free huge pages in the machine's pool."""
    WATCHED_HANDLE = "watched handle"
    """The same inode on the same file system: the images have no path for it (`open_handle`)."""
    EXTERNAL_MOUNT = "external mount"
    """`--external mnt[KEY]:PATH`."""
    EXTERNAL_NAMESPACE = "external namespace"
    """`--inherit-fd` with this key."""
    PARENT_IMAGES = "parent images"
    """An earlier dump, at the same place relative to this one: memory pages are there."""
    AUTOFS = "autofs"
    """The mount's daemon, in the dump or outside it."""
    BINARY_FORMAT = "binary format"
    """binfmt_misc, where CRIU registers this interpreter."""
    NVIDIA_DRIVER = "NVIDIA driver"
    """The node's must be of this version: its libraries are mapped, and the container's runtime brings the node's own."""
    GPU = "GPU"
    """Of the kinds that the dump's node had: a process has CUDA loaded."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing besides paths, sockets, ports and ids."""

    kind: NeedKind
    what: str
    """Printable text: a key, a name, a plugin, an address."""
    users: tuple[User, ...]


@dataclass(frozen=True, slots=True)
class Caution:
    """Something of the processes that CRIU does not bring back as it was."""

    what: str
    """A sentence without its full stop."""
    tasks: tuple[Pid, ...]


@dataclass(frozen=True, slots=True)
class OwnNamespace:
    """A namespace that the dump owns: CRIU makes it anew, with what was in it."""

    kind: NamespaceKind
    id: NamespaceId
    tasks: tuple[Pid, ...]


@dataclass(frozen=True, slots=True)
class HostDemands:
    """What the restoring criu itself must be allowed, to give it to the tasks."""

    capabilities: int = 0
    """One bit for each capability that a task has in its permitted set (`restore_creds`)."""
    limits: tuple[tuple[int, int], ...] = ()
    """By `RLIMIT_*`, the highest hard limit; to raise its own, criu needs CAP_SYS_RESOURCE."""


_TERMINALS_OF_NOBODY = {TerminalType.CTTY, TerminalType.PTY}
_IPPROTO_TCP = 6
_RESTORED_STATES = 0x2FF
"""x86: the CPU states that CRIU puts back: x87, SSE, AVX, MPX, AVX-512, PKRU (`restore_fpu`); CET's go apart."""
_CET_STATES = 0x1800
_AMX_STATES = 0x60000


def connected(socket: InetSocket) -> bool:
    """Tell a TCP connection (`tcp_connection`); a connected datagram socket is bound and connected anew, whoever listens."""
    return socket.protocol == _IPPROTO_TCP and socket.state not in {SocketState.LISTEN, SocketState.CLOSE}


def find_needs(dump: Dump, users: Users) -> Iterator[Need]:
    """Yield what a restore has to be given."""
    yield from (Need(NeedKind.PLUGIN, plugin, ()) for plugin in dump.plugins)
    masters = _masters(dump)
    devices = {(device.namespace, device.name) for device in dump.net_devices}
    # Regular files, the most of a large dump by far, need no more than their path.
    special = [file for file in dump.files.values() if not isinstance(file, RegularFile) or file.external]
    for file in special:
        for kind, what in _needs_of(file, masters):
            yield Need(kind, what, users.get(file.id, ()))
        for what in _devices_of(file, devices):
            yield Need(NeedKind.NETWORK_DEVICE, what, users.get(file.id, ()))
    for lock in dump.locks:
        yield Need(NeedKind.FILE_LOCK, _lock_text(lock), (User(lock.pid, Role.FD, lock.fd),))
    yield from _needs_of_tasks(dump)
    yield from _needs_of_driver(dump, users)
    for namespace_kind, what in _needs_of_namespaces(dump):
        yield Need(namespace_kind, what, ())


def _masters(dump: Dump) -> frozenset[int]:
    """Collect the numbers of the pseudoterminals whose master is in the dump."""
    terminals = (file.terminal for file in dump.files.values() if isinstance(file, Terminal))
    return frozenset(
        found.index for found in terminals if found is not None and found.master and found.index is not None
    )


def _needs_of(file: File, masters: frozenset[int]) -> Iterator[tuple[NeedKind, str]]:
    match file:
        case RegularFile(external=True):
            yield NeedKind.INHERITED_FILE, escape(file.name)
        case UnixSocket(external=True):
            yield NeedKind.EXTERNAL_PEER, escape(file.name)
        case UnixSocket(plugin=True):
            yield NeedKind.PLUGIN, f"one that restores the Unix socket {file.inode}"
        case InetSocket() | PacketSocket() | NetlinkSocket():
            yield from _needs_of_socket(file)
        case Terminal():
            yield from _needs_of_terminal(file, masters)
        case Notify():
            yield from _needs_of_watches(file)
        case Memfd() if file.huge_page and file.size:
            yield NeedKind.HUGE_PAGES, _pages(file.size, file.huge_page)
        case OtherFile() if file.type not in SELF_CONTAINED:
            yield NeedKind.FILE_TYPE, file.type.name if isinstance(file.type, FileType) else str(file.type)
        case _:
            pass


def _needs_of_watches(file: Notify) -> Iterator[tuple[NeedKind, str]]:
    for watch in file.watches:
        if watch.path is None:
            yield NeedKind.WATCHED_HANDLE, f"inode {watch.inode} on device {watch.device:#x}"


def _needs_of_socket(file: InetSocket | PacketSocket | NetlinkSocket) -> Iterator[tuple[NeedKind, str]]:
    if isinstance(file, InetSocket) and connected(file):
        source, destination = (
            f"{file.source}:{file.source_port}",
            f"{file.destination}:{file.destination_port}",
        )
        yield NeedKind.ESTABLISHED_TCP, f"{source} to {destination}"
    if file.options.mark is not None:
        yield NeedKind.CAPABILITY, f"CAP_NET_ADMIN, to set SO_MARK {file.options.mark:#x}"
    if isinstance(file, PacketSocket):
        yield NeedKind.CAPABILITY, "CAP_NET_RAW, for a packet socket"
    elif isinstance(file, InetSocket) and file.type is SocketType.RAW:
        yield NeedKind.CAPABILITY, "CAP_NET_RAW, for a raw socket"


def _needs_of_terminal(file: Terminal, masters: frozenset[int]) -> Iterator[tuple[NeedKind, str]]:
    found = file.terminal
    if found is None or found.index is None:
        if found is None or found.type not in _TERMINALS_OF_NOBODY:
            yield NeedKind.TERMINAL, f"tty {file.info:#x}"
    elif not found.master and found.index not in masters:
        yield NeedKind.TERMINAL, f"tty {file.info:#x}, /dev/pts/{found.index}"


def _devices_of(file: File, devices: set[tuple[NamespaceId, RawPath]]) -> Iterator[str]:
    """Name the network devices that a file asks for and that the dump does not bring."""
    match file:
        case InetSocket() | PacketSocket() | NetlinkSocket():
            names = [file.options.device, file.interface if isinstance(file, InetSocket) else None]
            namespace = file.namespace
        case TunFile():
            names, namespace = [file.device], file.namespace
        case _:
            return
    yield from (escape(name) for name in names if name and (namespace or NamespaceId(0), name) not in devices)
    if isinstance(file, PacketSocket) and file.interface:
        yield f"number {file.interface}"


def _pages(size: int, page: int) -> str:
    return f"{-(-size // page)} of {page >> 10} KiB"


def _lock_text(lock: FileLock) -> str:
    kind = {1: "POSIX", 2: "flock", 4: "OFD", 8: "lease"}.get(lock.kind, f"kind {lock.kind}")
    return f"{kind}, {stretch(lock.start, lock.length)}"


def _needs_of_tasks(dump: Dump) -> Iterator[Need]:
    for task in dump.tasks:
        for mapping in task.mappings:
            user = User(task.pid, Role.MAPPING, mapping.start)
            if mapping.kind is MappingKind.HUGE_PAGES:
                yield Need(NeedKind.HUGE_PAGES, f"for {mapping.end - mapping.start} bytes", (user,))
            if mapping.kind is MappingKind.PLUGIN and not dump.plugins:
                yield Need(NeedKind.PLUGIN, "one that restores a device's memory", (user,))
    yield from (Need(NeedKind.LSM_PROFILE, profile, ()) for profile in _profiles(dump))
    yield from (Need(NeedKind.CONTROL_GROUP, path, ()) for path in _control_groups(dump))


def _profiles(dump: Dump) -> list[str]:
    found = {
        thread.credentials.lsm_profile
        for task in dump.tasks
        for thread in task.thread_details
        if thread.credentials is not None
    }
    return sorted(profile for profile in found if profile is not None)


def _control_groups(dump: Dump) -> list[str]:
    """Name the groups that tasks are moved to: those of sets that are not the dumping criu's own."""
    used = {thread.cgroup_set for task in dump.tasks for thread in task.thread_details}
    return sorted(
        {
            f"{member.hierarchy}:{escape(member.path)}"
            for found in dump.cgroups.sets
            if found.id in used and found.id != dump.outer_cgroup_set
            for member in found.members
        }
    )


def _needs_of_driver(dump: Dump, users: Users) -> Iterator[Need]:
    """Tell NVIDIA's driver by the libraries that are open or mapped, and CUDA by its own library or CRIU's plugin."""
    libraries = defaultdict[str, dict[User, None]](dict)
    cuda: dict[User, None] = {}
    for file in dump.files.values():
        if isinstance(file, RegularFile) and (version := library_version(file.name)):
            held_by = dict.fromkeys(users.get(file.id, ()))
            libraries[version].update(held_by)
            cuda.update(held_by if is_cuda(file.name) else {})
    for version, held_by in sorted(libraries.items(), key=lambda item: item[0]):
        yield Need(NeedKind.NVIDIA_DRIVER, version, tuple(held_by))
    if cuda or CUDA_PLUGIN in dump.plugins:
        yield Need(NeedKind.GPU, "of the kind that the dump's processes had", tuple(cuda))


def _needs_of_namespaces(dump: Dump) -> Iterator[tuple[NeedKind, str]]:
    for mount in dump.mounts:
        if mount.external is not None:
            yield NeedKind.EXTERNAL_MOUNT, f"{escape(mount.external)} for {escape(mount.mountpoint)}"
        if mount.plugin:
            yield NeedKind.PLUGIN, f"one that mounts {escape(mount.mountpoint)}"
    for device in dump.net_devices:
        if device.type is NetDeviceType.EXTLINK:
            yield NeedKind.NETWORK_DEVICE, f"{escape(device.name)}, in the namespace that CRIU makes"
    for namespace in dump.external_namespaces:
        yield NeedKind.EXTERNAL_NAMESPACE, f"{namespace.kind}: {escape(namespace.key)}"
    for parent in dump.parents:
        problem = "" if parent.problem is None else f": {parent.problem}"
        yield NeedKind.PARENT_IMAGES, f"{escape(parent.path)}{problem}"
    for autofs in dump.autofs_mounts:
        yield NeedKind.AUTOFS, f"mount {autofs.mount}, whose daemon is in group {autofs.daemon_pgid}"
    for found in dump.binary_formats:
        yield NeedKind.BINARY_FORMAT, f"{escape(found.name)}, run by {escape(found.interpreter)}"


def find_cautions(dump: Dump) -> Iterator[Caution]:
    """Yield what CRIU leaves out without a word."""
    amx = tuple(task.pid for task in dump.tasks if _states(task) & _AMX_STATES)
    if amx:
        yield Caution(
            "AMX tiles were in use: CRIU restores neither their content nor the right to use them (SIGILL)",
            amx,
        )
    elif any(cpu.extended_states & _AMX_STATES for cpu in dump.cpus):
        yield Caution(
            "this CPU has AMX: a process that asked for the right to use it will not have it after a restore (SIGILL)",
            (),
        )
    others = ~(_RESTORED_STATES | _CET_STATES | _AMX_STATES)
    more = tuple(task.pid for task in dump.tasks if _states(task) & others)
    if more:
        yield Caution("CPU states that CRIU does not know were in use", more)
    if dump.tcp_close and any(
        isinstance(file, InetSocket) and connected(file) for file in dump.files.values()
    ):
        yield Caution("dumped with --tcp-close: TCP connections come back closed", ())


def _states(task: Task) -> int:
    found = 0
    for thread in task.thread_details:
        found |= thread.extended_states
    return found


def own_namespaces(dump: Dump) -> tuple[OwnNamespace, ...]:
    """List the namespaces of tasks that are not the dumping criu's own, as `root_ns_mask` tells them."""
    outer = set(dump.outer_namespaces)
    if not outer:
        return ()
    tasks: defaultdict[tuple[NamespaceKind, NamespaceId], list[Pid]] = defaultdict(list)
    for task in dump.tasks:
        for namespace in task.namespaces:
            if namespace not in outer:
                tasks[namespace].append(task.pid)
    return tuple(OwnNamespace(kind, number, tuple(pids)) for (kind, number), pids in tasks.items())


def host_demands(dump: Dump) -> HostDemands:
    capabilities, limits = 0, dict[int, int]()
    for task in dump.tasks:
        for thread in task.thread_details:
            capabilities |= 0 if thread.credentials is None else thread.credentials.permitted
        for limit in task.limits:
            limits[limit.resource] = max(limit.hard, limits.get(limit.resource, 0))
    return HostDemands(capabilities, tuple(sorted(limits.items())))
