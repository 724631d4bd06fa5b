"""Tries the bound of the policy fair on many random nodes and traces: `python tests/benchmarks/fair_bound.py [HOW MANY]`.

Ends with 1 if a request has waited longer for its model's turn than the policy promised.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from random_nodes import case, worst_share_of_bound


def main(count: int) -> int:
    """Return the exit status."""
    began = time.monotonic()
    shares = {seed: worst_share_of_bound(case(seed), seed) for seed in range(count)}
    broken = sorted(seed for seed, share in shares.items() if share > 1 + 1e-9)
    worst = max(shares, key=lambda seed: shares[seed])
    print(f"{count} random traces, {len(broken)} over the bound: {broken[:20]}")  # noqa: T201
    print(f"the longest wait for a turn was {shares[worst]:.1%} of its bound, in trace {worst}")  # noqa: T201
    print(f"{time.monotonic() - began:.0f} s")  # noqa: T201
    return bool(broken)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
