"""`python -m storms NAME...`: run storms at full length and print what became of every request."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from proof.bench import bench
from proof.containers import PREFIX, check_image
from proof.traces import Traces
from storms.catalogue import OF_ENGINE
from storms.report import render
from storms.storm import Storm, break_loose

_SHOWN = 20
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Return 0 if no storm did harm."""
    parser = argparse.ArgumentParser(prog="storms", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{_names()}; none: all of the engine")
    parser.add_argument("--engine", choices=OF_ENGINE, default="tiny")
    parser.add_argument("--short", action="store_true", help="in the short forms that `make test` runs")
    parser.add_argument("--length", type=int, help="instead of the storm's own length")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="a file for llmux's log")
    parser.add_argument("--image", help="default: llmux:ENGINE")
    options = parser.parse_args()
    options.image = options.image or f"llmux:{options.engine}"
    storms = OF_ENGINE[options.engine]
    if unknown := set(options.name) - set(storms):
        parser.error(f"no storm for {options.engine} is called {', '.join(sorted(unknown))}")
    check_image(options.image)
    return max([_run(storms[name], options) for name in options.name or storms])


def _names() -> str:
    return "; ".join(f"{', '.join(storms)} ({engine})" for engine, storms in OF_ENGINE.items())


def _run(storm: Storm, options: argparse.Namespace) -> int:
    length = options.length or (storm.short if options.short else storm.full)
    before = Traces.seen()
    with bench(options.image, ROOT / ".cache" / "models" / storm.engine) as here:
        outcome = break_loose(storm, here, length, options.seed)
    left = Traces.seen() - before
    # Containers have shared memory and a /run/llmux of their own; the host's are others'.
    ours = frozenset(each for each in left.directories if PREFIX in each)
    left = replace(left, shared_memory=frozenset(), directories=ours)
    faults = [*outcome.faults(), *([f"left behind on this machine: {left}"] if left else [])]
    if options.log:
        options.log.write_text(outcome.log)
    console = Console(width=110, soft_wrap=True)
    console.print(render(outcome))
    console.print(*faults[:_SHOWN], sep="\n", style="red", markup=False)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
