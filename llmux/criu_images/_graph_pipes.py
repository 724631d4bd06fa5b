"""The pipes and FIFOs of a graph, from who can write to who can read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from llmux.criu_images import _words as words
from llmux.criu_images._graph_model import LinkKind, Part, Place, Sketch, Thing, held_by, shortened
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import Fifo, FileId, Pid, Pipe, RegularFile
from llmux.criu_images._users import User

_PART = Part.PIPES
_READS, _WRITES, _BOTH = 0, 1, 2
_ACCESS = 3


@dataclass(slots=True)
class _Ends:
    """One pipe: who holds which end."""

    id: int
    name: RawPath | None = None
    waiting: int = 0
    users: defaultdict[int, list[User]] = field(default_factory=lambda: defaultdict(list))

    def holders(self, *accesses: int) -> dict[Pid, str]:
        return held_by(user for access in accesses for user in self.users[access])

    @property
    def text(self) -> str:
        return f"pipe {self.id:#x}" if self.name is None else f"fifo {escape(self.name)}"

    @property
    def details(self) -> tuple[str, ...]:
        return (
            f"pipe {self.id:#x}",
            *((f"{words.human_size(self.waiting)} not read yet",) if self.waiting else ()),
        )


def add_pipes(sketch: Sketch) -> int:
    """Add the pipes and FIFOs; return how many there are."""
    pipes = _pipes(sketch)
    at_home: defaultdict[Pid, list[_Ends]] = defaultdict(list)
    for pipe in pipes.values():
        holders = pipe.holders(_READS, _WRITES, _BOTH)
        if len(holders) == 1 and pipe.name is None:
            at_home[next(iter(holders))].append(pipe)
        elif holders:
            _add_pipe(sketch, pipe)
        else:
            sketch.add(Thing(f"pipe {pipe.id}", _PART, pipe.text, pipe.details), Place.NOBODY)
    for pid, own in at_home.items():
        _add_at_home(sketch, pid, own)
    return len(pipes)


def _pipes(sketch: Sketch) -> dict[int, _Ends]:
    pipes: dict[int, _Ends] = {}
    for file in sketch.dump.files.values():
        if isinstance(file, Pipe | Fifo):
            pipe = pipes.setdefault(file.pipe_id, _Ends(file.pipe_id))
            flags, name = (file.flags, None) if isinstance(file, Pipe) else _node(sketch, file.regular_file)
            pipe.name = name if pipe.name is None else pipe.name
            pipe.users[flags & _ACCESS] += sketch.users.get(file.id, ())
    for data in sketch.dump.pipe_data:
        if data.pipe_id in pipes:
            pipes[data.pipe_id].waiting += data.length
    return pipes


def _node(sketch: Sketch, file: FileId) -> tuple[int, RawPath | None]:
    node = sketch.dump.files.get(file)
    return (node.flags, node.name) if isinstance(node, RegularFile) else (_BOTH, None)


def _add_at_home(sketch: Sketch, pid: Pid, pipes: list[_Ends]) -> None:
    """Make one row of all the pipes of which nobody else has an end."""
    lines = [f"{pipe.text}: {_both_ends(pipe, pid)}" for pipe in pipes]
    one = pipes[0]
    what = (
        f"{one.text}, held by nobody else" if len(pipes) == 1 else f"{len(pipes)} pipes held by nobody else"
    )
    held = one.holders(_READS, _WRITES, _BOTH)[pid] if len(pipes) == 1 else ""
    sketch.add(Thing(f"pipes of {pid}", _PART, what, shortened(lines)), pid, held)


def _both_ends(pipe: _Ends, pid: Pid) -> str:
    ends = ((pipe.holders(access).get(pid), word) for access, word in _WORDS.items())
    text = ", ".join(f"{word} {held}" for held, word in ends if held is not None)
    return f"{text}, {words.human_size(pipe.waiting)} not read yet" if pipe.waiting else text


_WORDS = {_READS: "reads", _WRITES: "writes", _BOTH: "reads and writes"}


def _add_pipe(sketch: Sketch, pipe: _Ends) -> None:
    keys: dict[int, list[str]] = {}
    for access, word in _WORDS.items():
        holders = pipe.holders(access)
        keys[access] = [f"pipe {pipe.id} {access} of {pid}" for pid in holders]
        for key, (pid, held) in zip(keys[access], holders.items(), strict=True):
            sketch.add(Thing(key, _PART, f"{pipe.text}, {word}", pipe.details), pid, held)
    readers, writers = keys[_READS] + keys[_BOTH], keys[_WRITES] + keys[_BOTH]
    if len(readers) > 1 and len(writers) > 1:  # Each with each would be too many lines.
        hub = Thing(f"pipe {pipe.id}", _PART, pipe.text, pipe.details)
        sketch.add(hub, Place.SHARED)
        links = [(writer, hub.key) for writer in writers] + [(hub.key, reader) for reader in readers]
    else:
        links = [(writer, reader) for writer in writers for reader in readers if writer != reader]
    for source, target in links:
        sketch.link(source, target, _PART, LinkKind.SENDS)
