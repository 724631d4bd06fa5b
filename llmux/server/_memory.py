"""How much memory a tree of processes has to itself: anonymous and shared pages, each shared one in equal parts.

Source: proc_pid_smaps(5), Documentation/filesystems/proc.rst (smaps_rollup, children).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from llmux.server._facts import within

_PROC = Path("/proc")
_COUNTED = ("Pss_Anon:", "Pss_Shmem:")


def of_tree(pid: int, proc: Path = _PROC) -> int:
    """Return the bytes of this process and all below it; a process that ends meanwhile counts nothing."""
    return sum(_of_one(each, proc) for each in tree(pid, proc))


def tree(pid: int, proc: Path = _PROC) -> Iterator[int]:
    """Yield this process and all below it, parents first."""
    yield pid
    for children in _read_all(thread / "children" for thread in within(proc / str(pid) / "task")):
        for child in children.split():
            yield from tree(int(child), proc)


def _of_one(pid: int, proc: Path) -> int:
    texts = _read_all([proc / str(pid) / "smaps_rollup"])
    lines = (line.split() for text in texts for line in text.splitlines())
    return sum(int(words[1]) * 1024 for words in lines if words[0] in _COUNTED)


def _read_all(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            yield path.read_text("ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue
