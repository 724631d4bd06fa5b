"""Images of namespaces, control groups, filters and the CPU to their records."""

from __future__ import annotations

from collections.abc import Iterator

from llmux.criu_images._entry import Entry
from llmux.criu_images._enums import NetDeviceType, known
from llmux.criu_images._ids import NamespaceId, Pid
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import (
    AutofsMount,
    BinaryFormat,
    CgroupDirectory,
    CgroupMember,
    Cgroups,
    CgroupSet,
    Cpu,
    ExternalNamespace,
    FileLock,
    HostName,
    IdRange,
    Mount,
    NetDevice,
    SeccompFilter,
    SysvQueue,
    SysvSegment,
    SysvSemaphores,
    TimeOffsets,
    UserNamespace,
)

_INSTRUCTION = 8  # Bytes of a `struct sock_filter` (bpf(2)).
_SECOND = 10**9


def decode_lock(entry: Entry) -> FileLock:
    return FileLock(
        kind=entry.number("flag"),
        type=entry.number("type"),
        pid=Pid(entry.number("pid")),
        fd=entry.number("fd"),
        start=entry.number("start"),
        length=entry.number("len"),
    )


def decode_mount(entry: Entry, namespace: NamespaceId) -> Mount:
    key = entry.maybe_path("ext_key")
    mountpoint = entry.path("mountpoint")
    if key is None and entry.flag("ext_mount"):
        key = mountpoint
    return Mount(
        id=entry.number("mnt_id"),
        parent=entry.number("parent_mnt_id"),
        fstype=entry.number("fstype"),
        root=entry.path("root"),
        mountpoint=mountpoint,
        source=entry.path("source"),
        namespace=namespace,
        flags=entry.number("flags"),
        options=entry.path("options"),
        fsname=entry.maybe_path("fsname"),
        shared_id=entry.maybe_number("shared_id") or 0,
        master_id=entry.maybe_number("master_id") or 0,
        external=key,
        plugin=entry.flag("with_plugin"),
        deleted=entry.flag("deleted"),
    )


def decode_sysv_segment(entry: Entry) -> SysvSegment:
    about = entry.nested("desc")
    return SysvSegment(about.number("key"), about.number("id"), entry.number("size"), about.number("mode"))


def decode_sysv_queue(entry: Entry) -> SysvQueue:
    about = entry.nested("desc")
    return SysvQueue(about.number("key"), about.number("id"), about.number("mode"), entry.number("qnum"))


def decode_sysv_semaphores(entry: Entry) -> SysvSemaphores:
    about = entry.nested("desc")
    return SysvSemaphores(
        about.number("key"), about.number("id"), about.number("mode"), entry.number("nsems")
    )


def decode_net_device(entry: Entry, namespace: NamespaceId) -> NetDevice:
    kind = known(NetDeviceType, entry.number("type"))
    return NetDevice(namespace, kind, entry.number("ifindex"), entry.path("name"))


def decode_host_name(entry: Entry, namespace: NamespaceId) -> HostName:
    return HostName(namespace, escape(entry.raw("nodename")), escape(entry.raw("domainname")))


def decode_user_namespace(entry: Entry, namespace: NamespaceId) -> UserNamespace:
    return UserNamespace(
        namespace, tuple(map(_range, entry.each("uid_map"))), tuple(map(_range, entry.each("gid_map")))
    )


def _range(entry: Entry) -> IdRange:
    return IdRange(entry.number("first"), entry.number("lower_first"), entry.number("count"))


def decode_time_offsets(entry: Entry, namespace: NamespaceId) -> TimeOffsets:
    return TimeOffsets(
        namespace, _nanoseconds(entry.nested("monotonic")), _nanoseconds(entry.nested("boottime"))
    )


def _nanoseconds(entry: Entry) -> int:
    return entry.number("tv_sec") * _SECOND + entry.number("tv_nsec")


def decode_external_namespace(entry: Entry, kind: str, namespace: NamespaceId) -> ExternalNamespace | None:
    key = entry.maybe_path("ext_key")
    return None if key is None else ExternalNamespace(kind, namespace, key)


def decode_cgroups(entry: Entry) -> Cgroups:
    return Cgroups(
        sets=tuple(map(_cgroup_set, entry.each("sets"))),
        directories=tuple(
            directory
            for controller in entry.each("controllers")
            for directory in _cgroup_directories(controller, tuple(map(escape, controller.raws("cnames"))))
        ),
    )


def _cgroup_set(entry: Entry) -> CgroupSet:
    members = (CgroupMember(escape(member.raw("name")), member.path("path")) for member in entry.each("ctls"))
    return CgroupSet(entry.number("id"), tuple(members))


def _cgroup_directories(controller: Entry, names: tuple[str, ...]) -> Iterator[CgroupDirectory]:
    """Walk the groups without recursion; a name starts from its parent's (`prepare_cgroup_dirs`)."""
    waiting = [(entry, RawPath(b"")) for entry in controller.each("dirs")]
    while waiting:
        entry, parent = waiting.pop()
        path = RawPath(b"/".join(part for part in (parent, entry.path("dir_name").strip(b"/")) if part))
        properties = tuple(escape(each.raw("name")) for each in entry.each("properties"))
        yield CgroupDirectory(names, RawPath(b"/" + path), properties)
        waiting += [(child, path) for child in entry.each("children")]


def decode_seccomp_filters(entry: Entry) -> tuple[SeccompFilter, ...]:
    return tuple(
        SeccompFilter(
            instructions=len(each.raw("filter")) // _INSTRUCTION,
            previous=each.maybe_number("prev"),
            flags=each.maybe_number("flags") or 0,
        )
        for each in entry.each("seccomp_filters")
    )


def decode_cpus(entry: Entry) -> tuple[Cpu, ...]:
    return tuple(map(_cpu, entry.each("x86_entry")))


def _cpu(entry: Entry) -> Cpu:
    name = entry.maybe_raw("model_id")
    return Cpu(
        family=entry.number("cpu_family"),
        model=entry.number("model"),
        name=None if name is None else escape(name),
        extended_states=entry.maybe_number("xfeatures_mask") or 0,
    )


def decode_autofs_mount(entry: Entry, mount: int) -> AutofsMount:
    return AutofsMount(mount, Pid(entry.number("pgrp")))


def decode_binary_format(entry: Entry) -> BinaryFormat:
    return BinaryFormat(entry.path("name"), entry.path("interpreter"), entry.flag("enabled"))
