"""The numbers that tie the images of a dump together."""

from __future__ import annotations

from typing import NewType

FileId = NewType("FileId", int)
"""Ties a descriptor (`fdinfo_entry.id`), a mapping (`vma_entry.shmid`) or an exe, cwd and root to its file entry."""
SocketInode = NewType("SocketInode", int)
"""Ties a Unix socket to its peer (`unix_sk_entry.ino` and `.peer`)."""
Pid = NewType("Pid", int)
"""A process, thread, session or process group id, as seen in the dumped tree's own PID namespace."""
NamespaceId = NewType("NamespaceId", int)
"""CRIU's own number of a namespace (`task_kobj_ids_entry`), which also names its images (`netns-9.img`)."""
