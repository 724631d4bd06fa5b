"""What `llmux checkpoints show` prints: rows of a title and a line, made of what the control API answers.

made_of(shown)                   when and by what it was made, how large it is
contents_of(contents, missing)   what is in it, what its restore needs, and what of that is missing here
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC

from llmux.server import _words
from llmux.server._capacity import size
from llmux.server._client_answers import (
    Captured,
    CheckpointShown,
    Contents,
    InetSocket,
    Missing,
    Task,
    User,
)

Row = tuple[str, str]

_BY_REBUILD = "rebuild"
"""The library's word for what a wake brings itself."""
_ASKED_FOR = {
    "regular file": "regular files",
    "directory": "directories",
    "device node": "device nodes",
    "fifo": "FIFOs",
    "symbolic link": "symbolic links",
    "other node": "other nodes",
    "watched path": "watched paths",
    "socket outside the dump": "sockets of others",
}
"""The library's kinds of paths that must be there (docs/json.md), in the plural; the others come with the checkpoint."""
_PROTOCOLS = {6: "TCP", 17: "UDP"}
_NAMED = 5
"""Paths that are named of many."""


def made_of(shown: CheckpointShown) -> Iterator[Row]:
    """Yield how it was made, and what it takes."""
    yield "checkpoint of", shown.name
    yield (
        "is",
        ", ".join(filter(None, (_words.CHECKPOINTS.get(shown.kind, shown.kind), _words.USES.get(shown.use)))),
    )
    if shown.problem:
        yield "problem", ". ".join(filter(None, (shown.problem.message, shown.problem.hint)))
    if shown.created_at and shown.age_seconds is not None:
        at = shown.created_at.astimezone(UTC)
        yield "made", f"{at:%Y-%m-%d %H:%M:%S} UTC, {_words.age(shown.age_seconds)} ago{_by(shown.captured)}"
    if shown.eviction:
        yield "sleeps with", _words.depth(shown.eviction.weights, shown.eviction.process)
    if shown.bytes is not None:
        yield "size", f"{size(shown.bytes)}, generation {shown.generation}"
    if shown.captured:
        yield f"files carried ({shown.captured.carried_files})", size(shown.captured.carried_bytes)
    if shown.path:
        yield "path", shown.path


def _by(captured: Captured | None) -> str:
    if captured is None:
        return ""
    criu = f" and CRIU {captured.criu}" if captured.criu else ""
    return f", by llmux {captured.llmux}{criu} on Linux {captured.kernel}, in {captured.host}"


def contents_of(contents: Contents, missing: Missing) -> Iterator[Row]:
    """Yield what is in it and what a restore asks for, in the library's words."""
    tasks = {task.pid: task for task in contents.tasks}
    threads = sum(len(task.threads) for task in contents.tasks)
    yield f"processes ({len(tasks)})", f"{_named(contents.tasks)}; with {threads} threads"
    bound = [each for each in contents.unix_sockets if each.binds]
    yield from _titled(
        f"Unix sockets ({len(bound)})",
        (f"{each.bind_path or each.name} of {_holders(tasks, each.users)}" for each in bound),
    )
    yield from _titled(
        f"TCP and UDP ({len(contents.inet_sockets)})",
        (f"{_address(each)} of {_holders(tasks, each.users)}" for each in contents.inet_sockets),
    )
    kinds = Counter(each.kind for each in contents.paths)
    asked = [f"{words} ({kinds[kind]})" for kind, words in _ASKED_FOR.items() if kinds[kind]]
    if asked:
        yield "must be there", ", ".join(asked)
    if contents.ids:
        yield f"must be free ({len(contents.ids)})", f"ids, from {contents.ids[0]} to {contents.ids[-1]}"
    yield from _titled("needs", (f"{each.kind}: {each.what}" for each in contents.needs))
    yield from _titled("not as it was", (each.what for each in contents.cautions))
    yield from _titled("not understood", (f"{each.image}: {each.why}" for each in contents.unknown))
    yield from _titled("missing here", _missing(missing))


def _titled(title: str, lines: Iterable[str]) -> Iterator[Row]:
    """Yield lines below one title; nothing where there are none."""
    for number, line in enumerate(lines):
        yield "" if number else title, line


def _named(tasks: Iterable[Task]) -> str:
    """Name processes, those of one name together: `python 1000 1002, sh 1003`."""
    pids: defaultdict[str, list[str]] = defaultdict(list)
    for task in tasks:
        pids[task.comm].append(str(task.pid))
    return ", ".join(f"{name} {' '.join(each)}" for name, each in pids.items())


def _holders(tasks: dict[int, Task], users: Sequence[User]) -> str:
    held = dict.fromkeys(user.pid for user in users)
    return _named(tasks[pid] for pid in held if pid in tasks) or "nobody in it"


def _address(socket: InetSocket) -> str:
    host = f"[{socket.source}]" if ":" in socket.source else socket.source
    return f"{_PROTOCOLS.get(socket.protocol, socket.protocol)} {host}:{socket.source_port}"


def _missing(missing: Missing) -> Iterator[str]:
    """Yield what somebody else must bring, by whom; a wake brings the rest."""
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for each in missing.missing:
        paths[each.mended_by].append(each.path)
    brought = len(paths.pop(_BY_REBUILD, ()))
    itself = "that a wake does not bring itself" + (f" (it brings {brought})" if brought else "")
    yield f"{'this, and nothing else' if paths else 'nothing'} {itself}"
    for bringer, theirs in paths.items():
        more = f" and {len(theirs) - _NAMED} more" if len(theirs) > _NAMED else ""
        yield f"{len(theirs)} to be brought by {bringer}: {', '.join(theirs[:_NAMED])}{more}"
