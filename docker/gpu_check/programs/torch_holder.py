"""Hold memory on a GPU by torch, look at all of it and compute with it again and again, and tell: REPORT BYTES."""

import sys

import torch

from reporting import report_for_ever

PIECES = 16


def main() -> None:
    size = int(sys.argv[2])
    torch.manual_seed(7)
    numbers = size // PIECES // 8
    memory = [torch.empty(numbers, dtype=torch.int64, device="cuda").random_() for _ in range(PIECES)]
    counter = torch.zeros(1, dtype=torch.int64, device="cuda")
    one, other = (torch.randn(1024, 1024, device="cuda") for _ in range(2))

    def look() -> tuple[str, int]:
        # Sums wrap around; each piece counts by its place, so that two that were swapped show too.
        total = sum((place * 2 + 1) * int(piece.sum().item()) for place, piece in enumerate(memory))
        product = (one @ other).double().sum().item()
        counter.add_(1)
        return f"{total & ((1 << 64) - 1):016x} {product!r}", int(counter.item())

    report_for_ever(look, bytes=size)


main()
