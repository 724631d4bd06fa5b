"""What a case is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpu_check._facts import Facts


@dataclass(frozen=True)
class Task:
    """One run of a case: `size` bytes on the GPU, `rounds` times, with `place` as its own directory."""

    facts: Facts
    size: int
    rounds: int
    place: Path
    vllm_model: str = ""

    @property
    def uuid(self) -> str:
        """The GPU that is used: the first one."""
        return self.facts.driver.gpus[0].uuid
