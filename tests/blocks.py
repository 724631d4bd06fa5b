"""The fenced blocks of the README and of docs/: which shell blocks a test runs, and why it leaves the others to somebody else.

A block names its language. `sh` is what a reader types, `console` shows it after `$ ` with what is printed; `text` is neither. tests/integration/test_pages.py runs
the shell blocks of a page in their order, in one shell. Those in ELSEWHERE it leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHELL = frozenset({"sh", "console"})
LANGUAGES = SHELL | {"json", "python", "text", "toml", "yaml"}

_CONTROL = "needs a model for each call's state: tests/unit/server/control/test_page.py makes each of the page's calls"
_CRIU = "needs CRIU, which is in the containers only: tests/integration/test_success_*.py put models to sleep on disk there"
_SET_UP = "is the set-up that every test here has come by"
ELSEWHERE = {
    ("README.md", "make demo"): _SET_UP,
    ("README.md", "python3 -m venv /opt/llmux"): "runs in containers: tests/integration/criu_images/test_readme.py",
    ("README.md", "criu dump"): "runs in containers: tests/integration/criu_images/test_readme.py",
    ("docs/by-hand.md", "eval "): "runs in containers: tests/integration/test_by_hand.py",
    ("docs/by-hand.md", "container llmux-a"): "runs in containers: tests/integration/test_by_hand.py",
    ("docs/by-hand.md", "docker rm"): "runs in containers: tests/integration/test_by_hand.py",
    ("docs/cli.md", "llmux checkpoints show"): "needs CRIU: tests/integration/test_success_checkpoints.py asks it in a container",
    ("docs/cli.md", "llmux sleep chat --process checkpoint"): _CRIU,
    ("docs/cli.md", "llmux validate chat"): _CRIU,
    ("docs/control.md", "curl"): _CONTROL,
    ("docs/deploy.md", "docker run"): "needs an image with an engine; tests/unit/docs/test_deploy.py compares its options with the proof's",
    ("docs/deploy.md", "docker compose"): "needs Docker's plugin compose; tests/unit/docs/test_deploy.py reads the file",
    ("docs/deploy.md", "python3 -m venv /opt/llmux"): "is the beginning of the block that needs systemd",
    ("docs/deploy.md", "/opt/llmux/bin/llmux doctor"): "needs systemd as the first process; tests/unit/docs/test_deploy.py verifies the unit",
    ("docs/dumps.md", "python3 -m venv /opt/llmux"): "is the README's block: tests/integration/criu_images/test_readme.py",
    ("docs/dumps.md", "criu dump"): "is the README's block: tests/integration/criu_images/test_readme.py",
    ("docs/dumps.md", "eval "): "is for a terminal; tests/unit/docs/test_deploy.py compares its options with the proof's",
    ("docs/dumps.md", "docker exec"): "needs the container of docs/by-hand.md: tests/integration/test_show.py shows such a dump",
    ("docs/dumps.md", "python -m llmux.criu_images capture"): "needs a frozen tree: tests/unit/criu_images/test_cli_write.py",
    ("docs/index.md", "make demo"): _SET_UP,
    ("docs/operations.md", "python -m llmux.criu_images verify"): "needs a whole dump: tests/unit/criu_images/test_cli_write.py",
    ("docs/set-up.md", "python3 docker/setup.py"): _SET_UP,
    ("docs/troubleshooting.md", "criu restore"): _CRIU,
}  # fmt: skip
"""A page and how a shell block of it begins, to the reason why test_pages.py does not run it."""


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its fence."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> str:
        """What a reader of a shell block types."""
        if self.language == "sh":
            return self.text
        typed = (line[2:] for line in self.text.splitlines() if line.startswith(("$ ", "> ")))
        return "".join(f"{line}\n" for line in typed)

    def begins(self, page: str, words: str) -> bool:
        """Say whether this is the block of the page that begins with these words."""
        return self.page == page and self.commands.startswith(words)

    @property
    def elsewhere(self) -> bool:
        """Whether a reason is known why test_pages.py leaves it out."""
        return any(self.begins(*each) for each in ELSEWHERE)


def pages() -> list[str]:
    """Return the pages that have blocks, by their paths in the repository."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def blocks() -> list[Block]:
    """Return every block of every page."""
    return [block for page in pages() for block in blocks_of(page, (ROOT / page).read_text("utf-8"))]


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Give the blocks of a page with this text."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if fence := re.fullmatch(r"( *)(`{3,})(\S*).*", line):
            indent, ticks, language = fence.groups()
            content = []
            for _, inner in lines:
                if inner.strip() == ticks:
                    break
                content.append(inner.removeprefix(indent) + "\n")
            yield Block(page, number, language, "".join(content))
