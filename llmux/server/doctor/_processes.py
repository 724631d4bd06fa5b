"""Which processes here are llmux's, and what the others are called."""

from __future__ import annotations

from pathlib import Path

_INIT = b"llmux.server._init"
"""What the first process of every engine's sandbox has in its command line."""
_LLMUX = frozenset({b"llmux", b"llmux.server"})


def is_llmuxs(pid: int, proc: Path) -> bool:
    """Say whether a process is an llmux that serves, or below one, or below the first one of a sandbox."""
    while pid:
        try:
            command = (proc / str(pid) / "cmdline").read_bytes()
            stat = (proc / str(pid) / "stat").read_text("utf-8", "replace")
        except OSError:
            return False
        if _INIT in command or _serves(command.split(b"\0")):
            return True
        pid = int(stat.rpartition(")")[2].split()[1])
    return False


def _serves(words: list[bytes]) -> bool:
    """Say whether that is `llmux serve`, or the same as a module of a Python."""
    before = words[: words.index(b"serve")] if b"serve" in words else ()
    return any(word.rpartition(b"/")[2] in _LLMUX for word in before)


def name_of(pid: int, proc: Path) -> str:
    """Return what it is called; nothing where it is not seen from here."""
    try:
        return (proc / str(pid) / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""
