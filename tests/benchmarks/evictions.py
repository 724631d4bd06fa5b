"""What each way to sleep costs: `python tests/benchmarks/evictions.py [tiny|vllm]`, on a machine with Docker and the image.

One engine in one container is put to sleep and asked again in each way that a machine without a GPU has, in turn. Prints a
table in Markdown: seconds to fall asleep, seconds from a request to its whole answer, and that as a part of the same from a
cold start in this run; what is left in memory and on disk meanwhile. Figures of one run of a busy machine are worth no more
than their ratios.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docker"))

from proof.bench import MODEL, Node, Settings, bench

ROOT = Path(__file__).resolve().parents[2]
WAYS = (
    ("retain", "keep_running"),
    ("discard", "keep_running"),
    ("retain", "checkpoint"),
    ("discard", "checkpoint"),
    ("discard", "stop"),
)
_WEIGH = "from llmux.server._memory import of_tree; print(of_tree({pid}))"
_MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """One way to sleep, as seen. Durations in seconds, amounts in bytes."""

    weights: str
    process: str
    sleep: float
    wake: float
    memory: int
    disk: int


def measure(node: Node) -> tuple[float, int, Iterator[Cost]]:
    """Return what a cold start took to its first answer, the memory awake, and each way's cost as it is measured."""
    cold = seconds_to_answer(node)
    return cold, memory(node), (cost(node, weights, process) for weights, process in WAYS)


def cost(node: Node, weights: str, process: str) -> Cost:
    """Put the model to sleep in one way and ask it again."""
    began = time.monotonic()
    node.llmux.sleep(MODEL, eviction={"weights": weights, "process": process})
    asleep = time.monotonic() - began
    kept = memory(node)
    stored = node.llmux.status(MODEL)["checkpoint"] if process == "checkpoint" else None
    return Cost(weights, process, asleep, seconds_to_answer(node), kept, stored["bytes"] if stored else 0)


def seconds_to_answer(node: Node) -> float:
    """Return how long a request waits for its whole answer, the wake included."""
    began = time.monotonic()
    node.llmux.chat(MODEL, max_tokens=1, timeout=900)
    return time.monotonic() - began


def memory(node: Node) -> int:
    """Return what the engine's processes have to themselves; nothing where there is no engine."""
    engine = node.llmux.status(MODEL)["engine"]
    if not engine:
        return 0
    script = _WEIGH.format(pid=engine["init_pid"])
    return int(node.container.exec("/opt/llmux/bin/python", "-c", script))


def main(engine: str) -> None:
    """Print the table."""
    settings = Settings(engine, checkpoint={"reuse": False})
    cache = (ROOT / ".cache/models" / engine).resolve()
    with bench(f"llmux:{engine}", cache) as desk, desk.node("a", settings) as node:
        cold, awake, costs = measure(node)
        click.echo(
            f"{engine}: cold start to first answer {cold:.2f} s; {awake // _MIB} MiB in memory awake\n"
        )
        click.echo(
            "| weights | process | to sleep | to first answer | of a cold start | left in memory | on disk |"
        )
        click.echo("|---|---|---|---|---|---|---|")
        for each in costs:
            click.echo(
                f"| `{each.weights}` | `{each.process}` | {each.sleep:.2f} s | {each.wake:.2f} s "
                f"| {each.wake / cold:.1%} | {each.memory // _MIB} MiB | {each.disk // _MIB} MiB |",
            )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tiny")
