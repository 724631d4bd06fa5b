"""The command line, and the cases one after the other."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gpu_check import _containers, _dumping, _served, _suspending, _tiny
from gpu_check._children import CaseFailed, workplace
from gpu_check._facts import Driver, Facts
from gpu_check._look import look
from gpu_check._plan import TITLES, Case, Options, Planned, plan
from gpu_check._results import NO_GPU, Numbers, Outcome, Result, verdict
from gpu_check._table import NOT_A_GPU, as_json, head, render
from gpu_check._task import Task

STAND_IN_VARIABLE = "LLMUX_GPU_CHECK_STAND_IN"
"""Set to 1 for tests of this program: it then takes the stand-in for NVIDIA's driver, and says so."""


def main(argv: Sequence[str] | None = None) -> int:
    """Check this machine; return the exit code."""
    options = _parser().parse_args(argv)
    # As on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _check(options)
    except KeyboardInterrupt:  # before the first case
        return 130


def _check(options: argparse.Namespace) -> int:
    facts = look(options.criu_plugins)
    if reason := no_gpu(facts.driver, os.environ):
        sys.stderr.write(
            f"gpu-check: there is no NVIDIA GPU to check: {reason}\nNothing was run, and nothing is proved.\n"
        )
        return NO_GPU
    sys.stdout.write(f"{head(facts)}\n\n")
    planned = plan(facts, Options(options.rounds, options.bytes, frozenset(options.only)))
    return _told(facts, _carried_out(planned, facts, options), options)


def _carried_out(planned: Sequence[Planned], facts: Facts, options: argparse.Namespace) -> list[Result]:
    """Run one after the other; once interrupted, none: what was seen till then is told."""
    results: list[Result] = []
    interrupted = False
    for each in planned:
        if interrupted and not each.why_not:
            results.append(Result(each.case, Outcome.NOT_RUN, "interrupted"))
            continue
        try:
            results.append(_run(each, facts, options))
        except KeyboardInterrupt:
            interrupted = True
            results.append(Result(each.case, Outcome.FAILED, "interrupted"))
    return results


def _told(facts: Facts, results: Sequence[Result], options: argparse.Namespace) -> int:
    code, words = verdict(results)
    sys.stdout.write(f"\n{render(results)}\n\n{_mark(facts)}{words}\n")
    if options.json:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        options.json.write_text(as_json(facts, results, now), "utf-8")
    return code


def no_gpu(driver: Driver, environ: Mapping[str, str]) -> str:
    """Return why there is nothing to check: the stand-in is no GPU, unless it is asked for by name."""
    if not driver.gpus:
        return driver.no_gpu
    if driver.is_stand_in and environ.get(STAND_IN_VARIABLE) != "1":
        return f"{NOT_A_GPU} {STAND_IN_VARIABLE}=1 is for tests of this program"
    return ""


def _mark(facts: Facts) -> str:
    return "STAND-IN, no GPU: " if facts.driver.is_stand_in else ""


def _run(planned: Planned, facts: Facts, options: argparse.Namespace) -> Result:
    if planned.why_not:
        return Result(planned.case, Outcome.NOT_RUN, planned.why_not)
    sys.stdout.write(f"==> {TITLES[planned.case]}\n")
    sys.stdout.flush()
    with workplace() as place:
        task = Task(facts, planned.size, options.rounds, place, options.vllm_model)
        try:
            result = Result(planned.case, Outcome.PASSED, numbers=_CASES[planned.case](task))
        except CaseFailed as error:
            result = Result(planned.case, Outcome.FAILED, str(error), log=error.log)
        except Exception as error:  # noqa: BLE001 - whatever a case meets, the others and the table are to come
            result = Result(planned.case, Outcome.FAILED, f"{type(error).__name__}: {error}")
    sys.stdout.write(
        f"    {' '.join(filter(None, (result.outcome.value, result.said)))}\n{result.log}"
        + ("\n" if result.log else "")
    )
    sys.stdout.flush()
    return result


_CASES: Mapping[Case, Callable[[Task], Numbers]] = {
    Case.BANDWIDTH: _suspending.bandwidth,
    Case.BARE: _suspending.bare,
    Case.NVIDIA: _suspending.by_nvidias_program,
    Case.DEVICE_MAP: _suspending.on_the_other,
    Case.TORCH: _suspending.with_torch,
    Case.TINY: _tiny.suspended_often,
    Case.SERVE_TINY: _served.tiny,
    Case.SERVE_VLLM: _served.vllm,
    Case.CRIU: _dumping.suspended_before,
    Case.CRIU_PLUGIN: _dumping.by_plugin,
    Case.CONTAINERS: _containers.success_test,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpu-check",
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=_positive, default=20, help="how often each suspension is made (20)")
    parser.add_argument(
        "--bytes",
        type=_positive,
        default=0,
        help="on the GPU in each case (what fits, at most 1 GiB; torch 4 GiB)",
    )
    parser.add_argument(
        "--only", type=_cases, default=(), metavar="CASE,CASE", help=", ".join(case.value for case in Case)
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was seen there, too")
    parser.add_argument(
        "--criu-plugins", default="", metavar="DIR", help="where CRIU's plugins are, if not where CRIU looks"
    )
    parser.add_argument(
        "--vllm-model", default="", metavar="PATH", help="for vLLM; else one is made, of random weights"
    )
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _cases(text: str) -> tuple[Case, ...]:
    return tuple(Case(word) for word in text.split(","))
