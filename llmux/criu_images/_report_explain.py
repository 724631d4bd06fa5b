"""An explained log as text for people, as JSON, and the table of messages as Markdown. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from llmux.criu_images._counted import counted
from llmux.criu_images._explain import Explanation, Finding, Outcome
from llmux.criu_images._message_table import DEMANDS, MESSAGES
from llmux.criu_images._messages import Message, Rank
from llmux.criu_images._paths import escape

VERSION = 1
_WIDTH = 110
_LABEL = 11
_MOST_SHOWN = 8
_OUTCOMES: Mapping[Outcome, str] = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.QUIET: "named no failure",
    Outcome.FAILED: "failed",
    Outcome.UNFINISHED: "did not end: CRIU was killed, hangs, or still runs",
    Outcome.FOREIGN: "left nothing here: this is not a log of CRIU",
}


def render_explanation(log: str, found: Explanation, referrers: Sequence[str] = ()) -> str:
    """Write an explanation; `referrers` say who in the dump refers to what the cause names."""
    lines = [_headline(log, found)]
    if found.cause is not None and found.outcome is not Outcome.SUCCEEDED:
        lines += _cause(found, found.cause, referrers)
    elif found.outcome is Outcome.QUIET:
        lines += _wrapped("", "CRIU tells of success from -v3 on only; below that a log without errors is all there is.")  # fmt: skip
    if found.outcome in {Outcome.UNFINISHED, Outcome.FOREIGN} or _unknown(found):
        lines += ["", "The last lines", *(f"  {number}  {escape(line)}" for number, line in found.tail)]
    lines += _others(found)
    return "\n".join(lines)


def _headline(log: str, found: Explanation) -> str:
    criu = "" if found.version is None else f" of CRIU {found.version}"
    return f"{log}: the {found.operation or 'run'}{criu} {_OUTCOMES[found.outcome]}"


def _unknown(found: Explanation) -> bool:
    return found.outcome is Outcome.FAILED and (found.cause is None or found.cause.message is None)


def _cause(found: Explanation, cause: Finding, referrers: Sequence[str]) -> Iterator[str]:
    yield ""
    yield f"line {cause.line}{_where(cause)}"
    for line in cause.text.split(b"\n"):
        yield f"  {escape(line)}"
    if found.spoken:
        yield "  what it wrote:"
        yield from (f"    {escape(line)}" for line in found.spoken[-20:])
    yield ""
    if cause.message is not None:
        yield from _wrapped("demand", f"{cause.message.demand}: {DEMANDS[cause.message.demand]}")
    for label, value in cause.facts.items():
        yield f"{label:<{_LABEL}} {value}"
    yield from _wrapped("why", cause.means)
    if cause.mends:
        yield from _wrapped("what mends", cause.mends)
    for number, referrer in enumerate(referrers):
        yield f"{'' if number else 'used by':<{_LABEL}} {referrer}"


def _where(finding: Finding) -> str:
    task = "" if finding.pid is None else f", process {finding.pid}"
    return f"{task}, {finding.place}" if finding.place else task


def _wrapped(label: str, text: str) -> Iterator[str]:
    for number, line in enumerate(textwrap.wrap(text, _WIDTH - _LABEL, break_on_hyphens=False)):
        yield f"{'' if number else label:<{_LABEL}} {line}".rstrip()


def _others(found: Explanation) -> Iterator[str]:
    """List the rest: what matters first, CRIU's harmless complaints in one line."""
    harmless = [finding for finding in found.others if finding.rank is Rank.HARMLESS]
    rest = [finding for finding in found.others if finding.rank is not Rank.HARMLESS]
    if rest:
        yield ""
        yield (
            f"Other errors ({len(rest)}); most follow from the one above"
            if found.cause
            else f"Errors ({len(rest)})"
        )
        yield from (f"  {finding.line}  {escape(finding.text)}" for finding in rest[:_MOST_SHOWN])
        if len(rest) > _MOST_SHOWN:
            yield f"  ... and {len(rest) - _MOST_SHOWN} more"
    if harmless:
        yield ""
        yield f"{counted(len(harmless), 'harmless error')} (CRIU tries what the kernel can do and goes on): {_lines_of(harmless)}"


def _lines_of(findings: Sequence[Finding]) -> str:
    numbers = ", ".join(str(finding.line) for finding in findings[:_MOST_SHOWN])
    return f"line{'' if len(findings) == 1 else 's'} {numbers}{' ...' if len(findings) > _MOST_SHOWN else ''}"


def render_explanation_json(log: str, found: Explanation, referrers: Sequence[str] = ()) -> str:
    """Write an explanation as docs/json.md describes it."""
    return json.dumps(
        {
            "format": "llmux-explain",
            "version": VERSION,
            "log": log,
            "outcome": found.outcome.name.lower(),
            "operation": found.operation,
            "criu_version": found.version,
            "cause": None if found.cause is None else _as_json(found.cause),
            "used_by": list(referrers),
            "script_wrote": list(map(escape, found.spoken)),
            "other_errors": [_as_json(finding) for finding in found.others],
            "last_lines": [{"line": number, "text": escape(line)} for number, line in found.tail],
            "lines": found.lines,
            "errors": found.errors,
        },
        indent=2,
    )


def _as_json(finding: Finding) -> dict[str, object]:
    message = finding.message
    return {
        "line": finding.line,
        "text": escape(finding.text),
        "place": finding.place,
        "pid": finding.pid,
        "known": message is not None,
        "rank": finding.rank.value,
        "demand": None if message is None else message.demand,
        "path": None if finding.path is None else escape(finding.path),
        "errno": finding.match.errno,
        "facts": finding.facts,
        "why": finding.means,
        "what_mends": finding.mends,
    }


def render_messages() -> str:
    """Write the whole table of messages as Markdown, demand by demand."""
    return "\n".join(line for demand, title in DEMANDS.items() for line in _section(demand, title))


def _section(demand: str, title: str) -> Iterator[str]:
    yield f"### {demand}: {title}"
    yield ""
    for message in MESSAGES:
        if message.demand == demand:
            yield f"- `{_printed(message)}`{_notes(message)}  "
            yield f"  {message.means} {message.mends}"
    yield ""


def _printed(message: Message) -> str:
    holes = {hole: _HOLES.get(hole, "N") for hole in message.holes if hole != "code" or message.errno is None}
    text = message.say(**holes)
    return " ".join(text.replace("`- ", "'- ").split())


_HOLES = {
    "path": "PATH",
    "target": "PATH",
    "name": "NAME",
    "peer": "NAME",
    "program": "PROGRAM",
    "said": "TEXT",
    "pid": "PID",
    "id": "ID",
    "hex": "ID",
    "fd": "FD",
    "mode": "MODE",
    "expected_mode": "MODE",
}


def _notes(message: Message) -> str:
    notes = []
    if message.rank is Rank.EFFECT:
        notes.append("follows from another error")
    if message.rank is Rank.HARMLESS:
        notes.append("harmless")
    if message.until is not None:
        notes.append(f"up to CRIU {message.until}")
    return f" ({', '.join(notes)})" if notes else ""
