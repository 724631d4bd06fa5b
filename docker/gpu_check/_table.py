"""What a person reads at the end, and the same for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from gpu_check._facts import Facts
from gpu_check._plan import GIB, TITLES, Case
from gpu_check._results import Numbers, Outcome, Result, verdict

NOT_A_GPU = (
    "STAND-IN for NVIDIA's driver: no GPU was touched, and nothing here says anything about one. "
    "Times and rates are of files on this machine's disk."
)
_COLUMNS = ("what", "result", "times", "GiB", "freed", "out s", "back s", "out GB/s", "back GB/s", "start s")


def head(facts: Facts) -> str:
    """Return what the table was seen on."""
    driver = facts.driver
    lines = [NOT_A_GPU] if driver.is_stand_in else []
    lines += [f"{gpu.name}, {gpu.total / GIB:.0f} GiB, {gpu.uuid}" for gpu in driver.gpus]
    lines.append(
        f"driver {driver.version or 'of unknown version'}, CUDA {_cuda(driver.cuda)}; Linux {facts.kernel}"
    )
    lines.append(f"llmux at {facts.commit or 'an unknown commit'}; {'root' if facts.root else 'not root'}")
    return "\n".join(lines)


def _cuda(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}" if version else "of unknown version"


def render(results: Sequence[Result]) -> str:
    """Lay out the results: numbers to the right, and below the table what is to be said about single cases."""
    bandwidth = next((each.numbers for each in results if each.case is Case.BANDWIDTH), Numbers())
    cells = [_COLUMNS, *(_cells(each, bandwidth) for each in results)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    lines = [_line(line, widths) for line in cells]
    said = [f"{each.case}: {each.said}" for each in results if each.said]
    table = [lines[0], "-" * max(map(len, lines)), *lines[1:]]
    return "\n".join([*table, "", *said] if said else table)


def _cells(result: Result, bandwidth: Numbers) -> tuple[str, ...]:
    numbers = result.numbers
    begin = (TITLES[result.case], result.outcome.value)
    if result.case is Case.BANDWIDTH and result.outcome is Outcome.PASSED:
        rates = (f"{numbers.to_host / 1e9:.1f}", f"{numbers.to_gpu / 1e9:.1f}")
        return (*begin, "", f"{numbers.size / GIB:.2f}", "", "", "", *rates, "")
    if not numbers.rounds:
        return (*begin, *("",) * (len(_COLUMNS) - 2))
    freed = "" if numbers.freed is None else f"{numbers.freed / max(1, numbers.size):.0%}"
    return (
        *begin,
        str(len(numbers.rounds)),
        f"{numbers.size / GIB:.2f}",
        freed,
        f"{numbers.out:.2f}",
        f"{numbers.back:.2f}",
        _rate(numbers.size, numbers.out, bandwidth.to_host),
        _rate(numbers.size, numbers.back, bandwidth.to_gpu),
        f"{numbers.started:.2f}",
    )


def _rate(size: int, seconds: float, most: float) -> str:
    """Return bytes a second, and what part of the bandwidth that is."""
    if not seconds:
        return ""
    rate = size / seconds
    return f"{rate / 1e9:.1f}" + (f" ({rate / most:.0%})" if most else "")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, second, *rest = (
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, second, *rest]).rstrip()


def as_json(facts: Facts, results: Sequence[Result], seen_at: str) -> str:
    """Return all that was seen, for programs. `seen_at` is the time, in ISO 8601."""
    code, words = verdict(results)
    document = {
        "seen_at": seen_at,
        "stand_in": facts.driver.is_stand_in,
        "verdict": words,
        "exit_code": code,
        "facts": asdict(facts),
        "results": [
            {**asdict(result), "title": TITLES[result.case], **_medians(result)} for result in results
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _medians(result: Result) -> dict[str, float]:
    numbers = result.numbers
    names = ("out", "back", "started")
    return {f"{name}_seconds": getattr(numbers, name) for name in names} if numbers.rounds else {}
