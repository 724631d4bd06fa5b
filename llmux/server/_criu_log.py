"""CRIU's log to the reason of a failure and what to do about it. Pure.

Interface: `diagnose(log) -> Diagnosis`, `version_of(text)`, `duration_of(log, name)`.

With `-v3` and more each line of CRIU begins with a time stamp; what the action script wrote to its stderr stands
between them without one (`vprint_on_level` in CRIU's log.c, `cr_system_userns` in its util.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ERROR = re.compile(r"^(?:\(\s*\d+\.\d+\)?\s*)?\s*(?:\d+: )?Error \((?P<place>[^)]*)\): (?P<message>.*)$")
_HOOK_FAILED = re.compile(r"^Script \S+ exited with")
_HOOK_LINE = re.compile(r"^llmux-criu-hook: (?!warning: )(?P<message>.*)$")
_VERSION = re.compile(r"Version: (?P<version>\d+(?:\.\d+)*)")

_HARMLESS = re.compile(
    # CRIU probes for features and prints an error where one is missing, then goes on (kerndat.c).
    r"^tun: Unable to create tun"
    # It wants more descriptors for itself and does with fewer (rlimit_unlimit_nofile).
    r"|^rlimit: Can't setup RLIMIT_NOFILE for self"
    # What it says last whatever went wrong.
    r"|^Dumping FAILED|^Restoring FAILED|^One of more action scripts failed|^exited, status="
)

_HINTS: tuple[tuple[str, str], ...] = (
    (r"No space left|Disk quota", "Make room where checkpoints are kept (checkpoint.images_dir), or use a larger disk"),
    (r"io_uring|Unknown shit 600", "The engine holds an io_uring, which CRIU cannot dump: let llmux start the engine, which hides io_uring from it"),
    (r"Can't dump half of stream unix", "A process outside the engine is connected to one of its Unix sockets: end that connection and try again"),
    (r"Can't fork for \d+: File exists|Unable to create a thread: -17|Can't fork", "An id of the dump is in use: restore in a fresh sandbox, as llmux does, and see what else runs in it"),
    (r"Can't bind inet socket|Can't bind.*Address already in use", "A port of the engine is taken: see `ss -ltnp` and end what holds it"),
    (r"Can't open file|has bad (size|mode)|Can't open vma|Can't open cwd|Can't link|Can't open fake fifo", "A file that the dump needs is missing or another one: `python -m llmux.criu_images plan DIR` names it and says what to do"),
    (r"[Bb]uild-?[Ii][Dd]", "A program or library here is another build: use the very image that the checkpoint was made in"),
    (r"cpu.*(feature|capabilit)|CPU.*(incompatible|capabilit|feature)|FPU", "This CPU lacks what the engine was dumped with: restore on the same kind of CPU"),
    (r"Can't get rlimit|Can't set rlimit", "Run the engine as root, or give llmux CAP_SYS_RESOURCE (docker run --privileged)"),
    (r"doesn't live in IPC ns", "The engine uses System V shared memory, which CRIU dumps only with an IPC namespace of its own"),
    (r"rt vDSO|1:16 opt", "CRIU is too old for this kernel: use 4.2 or newer"),
    (r"Can't dump ghost file|ghost file.*too big|larger than limit", "The engine holds a deleted file open that is larger than 1 GiB, which a checkpoint does not carry: make it close the file or keep its name"),
    (r"Can't dump that handle|fsnotify", "The engine watches a file on the container's overlay file system, which CRIU cannot find again: put its directory on a volume"),
    (r"link[ _]remap.*File exists", "A link_remap.N of an earlier dump is in the way: remove it"),
    (r"tty|terminal", "The engine has a terminal open: start it through llmux, which gives it none"),
    (r"seccomp", "llmux's container must run without a seccomp filter: --security-opt seccomp=unconfined"),
    (r"Operation not permitted|Permission denied", "Give llmux's container the capabilities: --cap-add ALL and the security options of the README, or --privileged"),
)  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """Why criu failed: the first error that explains it, all errors in order, and a hint where the reason is known."""

    reason: str
    errors: tuple[str, ...]
    hint: str


def diagnose(log: str) -> Diagnosis:
    """Find the reason in the log of a criu that failed."""
    lines = log.splitlines()
    errors = tuple(match["message"].strip() for line in lines if (match := _ERROR.match(line)))
    spoken = tuple(match["message"] for line in lines if (match := _HOOK_LINE.match(line)))
    if spoken and any(_HOOK_FAILED.search(error) for error in errors):
        words = "; ".join(spoken).replace(":; ", ": ")
        return Diagnosis(words.removesuffix("."), errors, "")  # they say what to do themselves
    causes = [error for error in errors if not _HARMLESS.search(error)] or list(errors[:1])
    hints = [hint for error in causes for pattern, hint in _HINTS if re.search(pattern, error)]
    return Diagnosis(
        causes[0] if causes else "it left no error in its log", errors, hints[0] if hints else ""
    )


def version_of(text: str) -> tuple[int, ...]:
    """Return the version that `criu --version` prints, empty where there is none in it."""
    match = _VERSION.search(text)
    return tuple(map(int, match["version"].split("."))) if match else ()


def duration_of(log: str, name: str) -> float | None:
    """Return seconds: the duration that `--display-stats` printed under `name`."""
    match = re.search(rf"^{re.escape(name)}: (\d+) us$", log, re.MULTILINE)
    return int(match[1]) / 1e6 if match else None
