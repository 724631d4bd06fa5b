"""The JSON of what belongs to no path or socket: tasks in detail, namespaces, rights, limits, timers, control groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from llmux.criu_images._enums import NamespaceKind
from llmux.criu_images._ids import NamespaceId
from llmux.criu_images._inventory import Inventory
from llmux.criu_images._record_json import Json, Written, record_json, record_object, write_numbers
from llmux.criu_images._records import Dump, RegularFile, Task

Keys: TypeAlias = "dict[str, Iterable[Json] | Written]"
"""Under each key a list, or an object."""


def task_details(task: Task) -> dict[str, Json]:
    """Write what a task has one of."""
    return {
        "exit_code": task.exit_code,
        "stop_signal": task.stop_signal,
        "pending_signals": task.pending_signals,
        "oom_score_adj": task.oom_score_adj,
        "login_uid": task.login_uid,
        "dumpable": task.dumpable,
        "child_subreaper": task.child_subreaper,
        "namespaces": _by_kind(task.namespaces),
    }


def _by_kind(namespaces: Iterable[tuple[NamespaceKind, NamespaceId]]) -> dict[str, Json]:
    return {kind.value: number for kind, number in namespaces}


def _of_tasks(dump: Dump, parts: Callable[[Task], Iterable[object]]) -> Iterator[Json]:
    return (record_object(part, pid=task.pid) for task in dump.tasks for part in parts(task))


def descriptors(dump: Dump, _: Inventory) -> Keys:
    """Write each descriptor, and each regular file as it was opened: a path may be open in several ways."""
    return {
        "descriptors": write_numbers(
            ("pid", "fd", "file", "flags"),
            (
                (task.pid, found.fd, found.file, found.flags)
                for task in dump.tasks
                for found in task.descriptors
            ),
        ),
        "open_files": write_numbers(
            ("file", "flags", "pos"),
            (
                (file.id, file.flags, file.pos)
                for file in dump.files.values()
                if isinstance(file, RegularFile)
            ),
        ),
    }


def mappings(dump: Dump, _: Inventory) -> Keys:
    return {"mappings": _of_tasks(dump, lambda task: task.mappings)}


def rights(dump: Dump, inventory: Inventory) -> Keys:
    limits: dict[str, Json] = {str(resource): hard for resource, hard in inventory.host.limits}
    host: dict[str, Json] = {"capabilities": inventory.host.capabilities, "limits": limits}
    return {
        "threads": _of_tasks(dump, lambda task: task.thread_details),
        "limits": _of_tasks(dump, lambda task: task.limits),
        "seccomp_filters": map(record_json, dump.seccomp_filters),
        "host": host,
    }


def timers(dump: Dump, _: Inventory) -> Keys:
    return {
        "interval_timers": _of_tasks(dump, lambda task: task.interval_timers),
        "posix_timers": _of_tasks(dump, lambda task: task.posix_timers),
        "aio_rings": _of_tasks(dump, lambda task: task.aio_rings),
    }


def namespaces(dump: Dump, inventory: Inventory) -> Keys:
    return {
        "namespaces": [
            {"kind": each.kind.value, "id": each.id, "tasks": list(each.tasks)}
            for each in inventory.namespaces
        ],
        "outer_namespaces": _by_kind(dump.outer_namespaces),
        "external_namespaces": map(record_json, dump.external_namespaces),
        "mounts": map(record_json, dump.mounts),
        "net_devices": map(record_json, dump.net_devices),
        "host_names": map(record_json, dump.host_names),
        "user_namespaces": map(record_json, dump.user_namespaces),
        "time_offsets": map(record_json, dump.time_offsets),
        "sysv_queues": map(record_json, dump.sysv_queues),
        "sysv_semaphores": map(record_json, dump.sysv_semaphores),
    }


def control_groups(dump: Dump, _: Inventory) -> Keys:
    return {
        "cgroup_sets": [
            record_object(found) | {"outer": found.id == dump.outer_cgroup_set} for found in dump.cgroups.sets
        ],
        "cgroup_directories": map(record_json, dump.cgroups.directories),
    }


def machine(dump: Dump) -> Keys:
    """Write what is of the dump as a whole."""
    whole: dict[str, Json] = {
        "root_task": dump.root_task,
        "lsm": record_json(dump.lsm),
        "tcp_close": dump.tcp_close,
        "plugins": list(dump.plugins),
    }
    return {
        "dump": whole,
        "locks": map(record_json, dump.locks),
        "parents": map(record_json, dump.parents),
        "cpus": map(record_json, dump.cpus),
        "autofs_mounts": map(record_json, dump.autofs_mounts),
        "binary_formats": map(record_json, dump.binary_formats),
    }
