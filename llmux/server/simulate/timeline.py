"""Outcomes as a picture: for each policy a row per model, who was awake when, and how many requests waited. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from llmux.server.scheduling.snapshot import Phase
from llmux.server.simulate.outcome import Outcome

_LEFT, _WIDTH, _RIGHT = 150, 1000, 40
_ROW, _GAP, _TITLE, _AXIS, _LEGEND = 26, 3, 40, 26, 44
_COLOURS = {Phase.RISING: "#e9b44c", Phase.AWAKE: "#4f9d69", Phase.SINKING: "#9b8fb0"}
_WAITING = "#b3261e"
_NAMES = {Phase.RISING: "waking", Phase.AWAKE: "awake", Phase.SINKING: "draining, going to sleep"}
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def draw(outcomes: Mapping[str, Outcome]) -> str:
    """Return an SVG of these outcomes, by their policies' names; all have the same scale of time."""
    longest = max((outcome.until for outcome in outcomes.values()), default=0.0) or 1.0
    parts: list[str] = []
    y = _LEGEND
    for name, outcome in outcomes.items():
        parts += _block(name, outcome, y, _WIDTH / longest)
        y += _height(outcome)
    return "\n".join([_head(y), *_legend(), *parts, "</svg>", ""])


def _height(outcome: Outcome) -> int:
    return _TITLE + len(outcome.scenario.models) * (_ROW + _GAP) + _AXIS


def _head(height: int) -> str:
    width = _LEFT + _WIDTH + _RIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    )


def _legend() -> Iterator[str]:
    x = _LEFT
    for phase, colour in _COLOURS.items():
        yield f'<rect x="{x}" y="14" width="14" height="14" fill="{colour}"/>'
        yield f'<text x="{x + 20}" y="26">{_NAMES[phase]}</text>'
        x += 40 + 7 * len(_NAMES[phase])
    yield f'<path d="M{x},28 v-6 h5 v-8 h5 v14 z" fill="{_WAITING}"/>'
    yield f'<text x="{x + 20}" y="26">requests waiting (each row up to its own most, in figures at its end)</text>'


def _block(name: str, outcome: Outcome, y: int, scale: float) -> Iterator[str]:
    s = outcome.summary()
    figures = (
        f"wait p50 {s.p50:.1f} s, p95 {s.p95:.1f} s, p99 {s.p99:.1f} s; longest wait for a turn {s.worst_turn:.1f} s; "
        f"{s.switches} wakes"
    )
    yield f'<text x="{_LEFT}" y="{y + 24}"><tspan font-weight="bold" font-size="15">{escape(name)}</tspan>'
    yield f'<tspan dx="14" fill="#444444">{escape(figures)}</tspan></text>'
    top = y + _TITLE - 6
    for row, model in enumerate(outcome.scenario.models):
        yield from _row(outcome, model, top + row * (_ROW + _GAP), scale)
    yield from _axis(outcome, top, top + len(outcome.scenario.models) * (_ROW + _GAP), scale)


def _row(outcome: Outcome, model: str, y: int, scale: float) -> Iterator[str]:
    label = model if len(model) <= 20 else model[:19] + "…"
    yield f'<text x="{_LEFT - 8}" y="{y + 17}" text-anchor="end">{escape(label)}</text>'
    yield f'<rect x="{_LEFT}" y="{y}" width="{outcome.until * scale:.1f}" height="{_ROW}" fill="#f1f1ee"/>'
    engines = sorted({span.engine for span in outcome.spans if span.model == model})
    high = _ROW / max(1, len(engines))
    for span in outcome.spans:
        if span.model == model:
            x, width = _LEFT + span.begin * scale, max(0.3, (span.end - span.begin) * scale)
            at = y + engines.index(span.engine) * high
            yield f'<rect x="{x:.1f}" y="{at:.1f}" width="{width:.1f}" height="{high:.1f}" fill="{_COLOURS[span.phase]}"/>'
    yield from _waiting(outcome, model, y, scale)


def _waiting(outcome: Outcome, model: str, y: int, scale: float) -> Iterator[str]:
    """Draw how many waited, as steps that stand on the row's lower edge."""
    changes = sorted(
        change
        for number, wait in outcome.waits.items()
        if wait > 0 and outcome.trace[number].model == model
        for change in ((outcome.trace[number].at, 1), (outcome.trace[number].at + wait, -1))
    )
    counts = list(itertools.accumulate(step for _, step in changes))
    most = max(counts, default=0)
    if not most:
        return
    steps = " ".join(
        f"H{_LEFT + at * scale:.1f} V{y + _ROW - count / most * (_ROW - 4):.1f}"
        for (at, _), count in zip(changes, counts, strict=True)
    )
    yield f'<path d="M{_LEFT + changes[0][0] * scale:.1f},{y + _ROW} {steps} Z" fill="{_WAITING}" fill-opacity="0.75"/>'
    end = _LEFT + outcome.until * scale + 6
    yield f'<text x="{end:.1f}" y="{y + 17}" fill="{_WAITING}">{most}</text>'


def _axis(outcome: Outcome, top: int, bottom: int, scale: float) -> Iterator[str]:
    step = next((s for s in _STEPS if s * scale >= 70), _STEPS[-1])
    for i in range(int(outcome.until / step) + 1):
        x = _LEFT + i * step * scale
        yield f'<path d="M{x:.1f},{top} V{bottom + 3}" stroke="#00000022"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#444444">{_time(i * step)}</text>'


def _time(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
