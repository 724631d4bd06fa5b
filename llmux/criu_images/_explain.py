"""CRIU's log to what failed, why, and what mends it. Pure: lines in, an `Explanation` out; memory is bounded whatever the log's size.

A line of CRIU's is `(time) pid: Error (place): text`; time stamps begin at -v4, the pid stands in restored tasks' lines, after
`pie: ` in those of the code that CRIU runs inside them (log.c, pie-util.c). What an
action script writes stands between them as it is. A text may hold a newline, since a path may.
"""

from __future__ import annotations

import enum
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmux.criu_images._message_table import find_message
from llmux.criu_images._messages import Match, Message, Rank, errno_of
from llmux.criu_images._messages_system import HOOK, SCRIPT
from llmux.criu_images._paths import escape

LONGEST_LINE = 16384
"""Bytes of a line that are looked at; CRIU writes 8192 at most (LOG_BUF_LEN of log.c)."""
_MOST_FINDINGS = 500
_MOST_SPOKEN = 200
_MOST_MORE = 16
_TAIL = 5
_HEAD = re.compile(
    rb"(?:\(\d+\.\d+\)? *)? *(?:pie: )?(?:(\d+): )?(Error|Warn ) \(([^()\s]*)\): (.*)\Z", re.DOTALL
)
_TIMED = re.compile(rb"\(\d+\.\d+\)? ")
_VERSION = re.compile(rb"Version: (\d[\w.]*)")
_HOOK_LINE = re.compile(rb"llmux-criu-hook: (?!warning: )")
_DONE = {b"Restore finished successfully": "restore", b"Pre-dumping finished successfully": "pre-dump", b"Dumping finished successfully": "dump"}  # fmt: skip
_FAILED = {b"Restoring FAILED.": "restore", b"Pre-dumping FAILED.": "pre-dump", b"Dumping FAILED.": "dump"}
_BY_ERRNO: Mapping[str, str] = {
    "ENOSPC": "The disk is full, or a limit of the kernel's is reached: make room.",
    "EDQUOT": "The disk quota is used up: make room.",
    "EPERM": "CRIU lacks a capability: run it as root with the capabilities it asks for (docker: --cap-add ALL and seccomp, apparmor and systempaths unconfined, or --privileged).",
    "EACCES": "CRIU lacks a permission: run it as root with the capabilities it asks for, and see the modes on the way.",
    "EROFS": "That file system is read-only: mount it writable.",
    "ENOMEM": "Memory is short: raise the container's limit.",
    "EMFILE": "Raise the limit of open files (docker: --ulimit nofile=N).",
    "ENFILE": "Raise /proc/sys/fs/file-max on the host.",
    "EEXIST": "Something is there already, perhaps left by an earlier restore: `plan DIR` looks for such.",
    "ENOENT": "Something is missing: `plan DIR` looks for what the dump needs.",
    "EADDRINUSE": "An address is taken: `ss -lntuxp` shows by whom.",
}
"""What to do about an error number where the message has no advice for it."""


class Outcome(enum.Enum):
    """How the run of CRIU ended, as far as its log tells."""

    SUCCEEDED = "succeeded"
    QUIET = "no failure named"
    """No error and no word of success: CRIU tells of success from -v3 on."""
    FAILED = "failed"
    UNFINISHED = "unfinished"
    """A log with details that ends in the midst: CRIU was killed, hangs, or still runs."""
    FOREIGN = "not a log of CRIU"


@dataclass(frozen=True, slots=True)
class Finding:
    """One error of the log."""

    line: int
    """Its number, from 1."""
    text: bytes
    """CRIU's own words, without what stands before them."""
    place: str
    """The file and line of CRIU's source that it comes from."""
    pid: int | None
    """The task that said so, where it was a restored one."""
    message: Message | None
    """None where the table does not have it."""
    match: Match
    """The values in it; where the table does not have it, the error number at most."""

    @property
    def rank(self) -> Rank:
        return Rank.CAUSE if self.message is None else self.message.rank

    @property
    def means(self) -> str:
        return "CRIU says so; llmux knows nothing more of it." if self.message is None else self.message.means

    @property
    def mends(self) -> str:
        """What to do about it; empty where nothing is known."""
        own = "" if self.message is None else self.message.mends
        general = _BY_ERRNO.get(self.match.errno or "", "")
        if self.message is not None and (self.message.errno is not None or self.rank is not Rank.CAUSE):
            return own
        return f"{own} {general}".strip()

    @property
    def path(self) -> bytes | None:
        """The path it speaks of, absolute: CRIU leaves off the leading slash."""
        name = self.match.values.get("path")
        if name is not None:
            return name if name.startswith(b"/") else b"/" + name
        name = self.match.values.get("name", b"")
        return name if name.startswith(b"/") else None

    @property
    def facts(self) -> dict[str, str]:
        """What it names, printable."""
        facts = {} if self.path is None else {"path": escape(self.path)}
        for hole, label in _LABELS.items():
            if hole in self.match.values and not (hole == "name" and "path" in facts):
                facts.setdefault(label, escape(self.match.values[hole]))
        return facts


_LABELS = {
    "target": "to",
    "name": "name",
    "peer": "peer name",
    "program": "program",
    "pid": "id",
    "fd": "descriptor",
    "inode": "socket inode",
    "id": "file id",
    "found": "found",
    "mode": "found",
    "expected": "expected",
    "expected_mode": "expected",
}
"""The holes of a message that say something to people, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a log says."""

    outcome: Outcome
    operation: str | None
    """`dump`, `pre-dump` or `restore`, where the log tells."""
    version: str | None
    """CRIU's, where the log tells."""
    cause: Finding | None
    """The error that explains the failure best."""
    others: tuple[Finding, ...]
    """The rest of the errors, in the log's order, at most some hundreds."""
    spoken: tuple[bytes, ...]
    """What the action script that failed wrote before."""
    tail: tuple[tuple[int, bytes], ...]
    """The last lines with their numbers."""
    lines: int
    errors: int
    """How many there are in all."""


@dataclass
class _Reading:
    """What is kept of a log while it is read."""

    findings: list[Finding] = field(default_factory=list)
    spoken: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=_MOST_SPOKEN))
    hook: list[tuple[int, bytes]] = field(default_factory=list)
    tail: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=_TAIL))
    said_by_script: tuple[bytes, ...] = ()
    lines: int = 0
    errors: int = 0
    timed: bool = False
    warned: bool = False
    succeeded: bool = False
    operation: str | None = None
    version: str | None = None


def explain_log(lines: Iterable[bytes]) -> Explanation:
    """Explain a log of `criu dump`, `criu pre-dump` or `criu restore`, line by line as a file opened in binary mode gives them."""
    reading = _Reading()
    pending: list[bytes] = []
    head: re.Match[bytes] | None = None
    at = 0
    for number, raw in enumerate(lines, 1):
        line = raw[:LONGEST_LINE].rstrip(b"\r\n")
        reading.lines = number
        if line:
            reading.tail.append((number, line))
        found = _HEAD.match(line) if b"Error (" in line or b"Warn  (" in line else None
        if found is None and head is not None and _continues(line, pending):
            pending.append(line)
            continue
        _settle(reading, head, at, pending)
        head, at, pending = found, number, []
        if found is None:
            _note(reading, number, line)
    _settle(reading, head, at, pending)
    return _conclude(reading)


def _continues(line: bytes, pending: list[bytes]) -> bool:
    """Tell whether a line may belong to the text of the error above: a name may hold newlines."""
    starts = _TIMED.match(line) or _HOOK_LINE.match(line) or any(done in line for done in _DONE)
    return not starts and len(pending) < _MOST_MORE


def _note(reading: _Reading, number: int, line: bytes) -> None:
    """Take from a line that is no error what it tells of the run."""
    timed = _TIMED.match(line) is not None
    reading.timed |= timed
    if _HOOK_LINE.match(line):
        if len(reading.hook) < _MOST_SPOKEN:
            reading.hook.append((number, line.partition(b": ")[2]))
    elif not timed and line:
        reading.spoken.append((number, line))
    for done, operation in _DONE.items():
        if done in line:
            reading.succeeded, reading.operation = True, operation
            break
    if reading.version is None and (version := _VERSION.search(line)):
        reading.version = version[1].decode()


def _settle(reading: _Reading, head: re.Match[bytes] | None, at: int, more: list[bytes]) -> None:
    """Look the error up whose last line has been read."""
    if head is None:
        return
    pid, level, place, text = head.groups()
    reading.warned = True
    reading.timed |= _TIMED.match(head[0]) is not None
    if level != b"Error":
        return
    reading.errors += 1
    message, match, whole = _look_up(text, more)
    if more and whole == text:
        reading.spoken.extend((at + 1 + index, line) for index, line in enumerate(more) if line)
    finding = Finding(at, whole, place.decode(errors="replace"), int(pid) if pid else None, message, match)
    for failed, operation in _FAILED.items():
        if text == failed:
            reading.succeeded, reading.operation = False, operation
            break
    if message is SCRIPT:
        reading.said_by_script = tuple(line for _, line in reading.spoken)
    if len(reading.findings) < _MOST_FINDINGS:
        reading.findings.append(finding)


def _look_up(text: bytes, more: list[bytes]) -> tuple[Message | None, Match, bytes]:
    """Find the message of a text; if the line alone is none or says little, with the lines below it, one by one."""
    best: tuple[Message | None, Match, bytes] = (None, Match({}, errno_of(text)), text)
    for count in range(len(more) + 1):
        whole = b"\n".join((text, *more[:count]))
        found = find_message(whole)
        if found is not None and found[0].rank is Rank.CAUSE:
            return (*found, whole)
        if found is not None and best[0] is None:
            best = (*found, whole)
    return best


def _conclude(reading: _Reading) -> Explanation:
    cause = _cause(reading)
    others = tuple(finding for finding in reading.findings if finding is not cause)
    return Explanation(
        outcome=_outcome(reading),
        operation=reading.operation or _operation_of(reading.findings),
        version=reading.version,
        cause=cause,
        others=others,
        spoken=reading.said_by_script if cause is not None and cause.message is SCRIPT else (),
        tail=tuple(reading.tail),
        lines=reading.lines,
        errors=reading.errors,
    )


def _outcome(reading: _Reading) -> Outcome:
    if reading.succeeded:
        return Outcome.SUCCEEDED
    if any(finding.rank is not Rank.HARMLESS for finding in reading.findings):
        return Outcome.FAILED
    if reading.timed:
        return Outcome.UNFINISHED
    return Outcome.QUIET if reading.warned or not reading.tail else Outcome.FOREIGN


def _operation_of(findings: Iterable[Finding]) -> str | None:
    for finding in findings:
        for file, operation in (
            ("cr-restore.c", "restore"),
            ("restorer.c", "restore"),
            ("cr-dump.c", "dump"),
        ):
            if file in finding.place:
                return operation
    return None


def _cause(reading: _Reading) -> Finding | None:
    """Choose the error to blame: of the hook that refused, else the first known one, else the first one unknown, else the first at all."""
    if reading.succeeded:
        return None
    if reading.hook and any(finding.message is SCRIPT for finding in reading.findings):
        number, _ = reading.hook[0]
        said = b"\n".join(line for _, line in reading.hook)
        return Finding(number, said, "", None, HOOK, Match({"said": said}, None))
    for wanted in (_is_known, _is_unknown, _is_effect):
        found = next(filter(wanted, reading.findings), None)
        if found is not None:
            return found
    return None


def _is_known(finding: Finding) -> bool:
    return finding.message is not None and finding.rank is Rank.CAUSE


def _is_unknown(finding: Finding) -> bool:
    return finding.message is None


def _is_effect(finding: Finding) -> bool:
    return finding.rank is Rank.EFFECT
