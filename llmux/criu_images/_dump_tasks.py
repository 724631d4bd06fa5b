"""The process tree of a dump: each task joined from its images, with the ids checked that lead to other images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from llmux.criu_images import _decode_tasks as decode
from llmux.criu_images import _formats as formats
from llmux.criu_images._decode import TreeItem, decode_tree_item
from llmux.criu_images._enums import TaskState
from llmux.criu_images._ids import FileId, Pid
from llmux.criu_images._records import Descriptor, Epoll, File, Task, Thread, Unknown
from llmux.criu_images._source import Images
from llmux.criu_images.errors import DamagedImage

_TREE = "pstree.img"
_FILES = "files.img"


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a dump, and what of them could not be decoded."""

    by_id: dict[FileId, File]
    unknown: tuple[Unknown, ...]

    def require(self, file: FileId, image: str, field: str, entry: int | None = None) -> None:
        """Raise DamagedImage, which names the place of the reference, where no such file is."""
        if file not in self.by_id:
            raise DamagedImage(image, f"file {file:#x} is not in {_FILES}", entry=entry, field=field)

    def require_all(self, files: Iterable[FileId], image: str, field: str) -> None:
        """Do so for the files that the entries of an image name, one each."""
        for number, file in enumerate(files):
            if file not in self.by_id:
                self.require(file, image, field, number)


def read_tasks(images: Images, files: Files, *, descriptors_by_table: bool) -> tuple[Task, ...]:
    """Read all tasks, the root first and every parent before its children."""
    reader = _TaskReader(images, files, by_table=descriptors_by_table)
    tasks = tuple(map(reader.read, _read_tree(images)))
    for task in sorted(tasks, key=lambda task: task.pid):
        _join_targets(files.by_id, task)
    return tasks


def _join_targets(files: dict[FileId, File], task: Task) -> None:
    """Say which files an epoll waits for: the descriptors of the task that restores it, the lowest PID that holds it.

    At dump, CRIU has put the number of a descriptor that is open in the place of one that was closed (`flush_eventpoll_dinfo_queue`).
    """
    held: dict[int, FileId] = {}
    for descriptor in task.descriptors:
        epoll = files[descriptor.file]
        if not isinstance(epoll, Epoll) or any(target.file is not None for target in epoll.targets):
            continue
        held = held or {each.fd: each.file for each in task.descriptors}
        targets = (replace(target, file=held.get(target.fd)) for target in epoll.targets)
        files[epoll.id] = replace(epoll, targets=tuple(targets))


def _read_tree(images: Images) -> list[TreeItem]:
    """Read the process tree: the root comes first, with parent 0, and every parent before its children.

    So says `read_one_pstree_item`; whoever walks the tree may rely on it to end.
    """
    items: list[TreeItem] = []
    pids: set[Pid] = set()
    for entry in images.all(_TREE, formats.PSTREE):
        item = decode_tree_item(entry)
        if item.pid in pids:
            raise entry.damaged("pid", f"{item.pid} is listed twice")
        if item.ppid not in (pids or {Pid(0)}):
            raise entry.damaged("ppid", f"{item.ppid} is no task before it")
        items.append(item)
        pids.add(item.pid)
    if not items:
        raise DamagedImage(_TREE, "it has no task")
    return items


class _TaskReader:
    """Joins the images of each task; a descriptor table that tasks share is read once."""

    def __init__(self, images: Images, files: Files, *, by_table: bool) -> None:
        self._images = images
        self._by_table = by_table
        self._files = files
        self._tables: dict[int, tuple[Descriptor, ...]] = {}

    def read(self, item: TreeItem) -> Task:
        core = decode.decode_core(self._images.one(f"core-{item.pid}.img", formats.CORE), item.pid)
        task = Task(
            pid=item.pid,
            ppid=item.ppid,
            pgid=item.pgid,
            sid=item.sid,
            threads=item.threads,
            comm=core.comm,
            state=core.state,
            exe=None,
            cwd=None,
            root=None,
            descriptors=(),
            mappings=(),
            seccomp=core.leader.seccomp,
            exit_code=core.exit_code,
        )
        # A zombie has nothing but its core.
        return self._living(task, core) if core.state in {TaskState.ALIVE, TaskState.STOPPED} else task

    def _living(self, task: Task, core: decode.Core) -> Task:
        memory, directories = self._memory(task.pid), self._directories(task.pid)
        ids = self._ids(task.pid)
        return replace(
            task,
            exe=memory.exe,
            cwd=directories.cwd,
            root=directories.root,
            descriptors=self._descriptors(task.pid if ids is None else ids.descriptor_table),
            mappings=memory.mappings,
            stop_signal=core.stop_signal,
            thread_details=self._threads(task, core),
            limits=core.limits,
            interval_timers=core.interval_timers,
            posix_timers=core.posix_timers,
            aio_rings=memory.aio_rings,
            namespaces=() if ids is None else ids.namespaces,
            pending_signals=core.pending_signals,
            oom_score_adj=core.oom_score_adj,
            login_uid=core.login_uid,
            dumpable=memory.dumpable,
            child_subreaper=core.child_subreaper,
        )

    def _threads(self, task: Task, core: decode.Core) -> tuple[Thread, ...]:
        leader = core.leader
        if leader.credentials is None:
            # Up to CRIU 2.x, and in images converted from there.
            entry = self._images.maybe_one(f"creds-{task.pid}.img", formats.CREDS)
            leader = (
                leader if entry is None else replace(leader, credentials=decode.decode_credentials(entry))
            )
        return (leader, *map(self._thread, task.threads[1:]))

    def _thread(self, tid: Pid) -> Thread:
        return decode.decode_thread(self._images.one(f"core-{tid}.img", formats.CORE), tid)

    def _memory(self, pid: Pid) -> decode.Memory:
        name = f"mm-{pid}.img"
        memory = decode.decode_memory(self._images.one(name, formats.MM))
        self._files.require(memory.exe, name, "exe_file_id")
        for mapping in memory.mappings:
            if mapping.file is not None:
                self._files.require(mapping.file, name, f"vmas (at {mapping.start:x})")
        return memory

    def _directories(self, pid: Pid) -> decode.Directories:
        name = f"fs-{pid}.img"
        directories = decode.decode_directories(self._images.one(name, formats.FS))
        self._files.require(directories.cwd, name, "cwd_id")
        self._files.require(directories.root, name, "root_id")
        return directories

    def _ids(self, pid: Pid) -> decode.ObjectIds | None:
        """Read the ids of what a task shares; None in an old dump, whose descriptor tables are named by PID."""
        name = f"ids-{pid}.img"
        if self._by_table:
            return decode.decode_ids(self._images.one(name, formats.IDS))
        entry = self._images.maybe_one(name, formats.IDS)
        return None if entry is None else replace(decode.decode_ids(entry), descriptor_table=pid)

    def _descriptors(self, table: int) -> tuple[Descriptor, ...]:
        if table not in self._tables:
            name = f"fdinfo-{table}.img"
            found = tuple(map(decode.decode_descriptor, self._images.all(name, formats.FDINFO)))
            self._files.require_all((each.file for each in found), name, "id")
            self._tables[table] = found
        return self._tables[table]
