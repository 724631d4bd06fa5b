"""How the page draws the states: each in a colour that stands out in light and dark, and in a shape of its own."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations, product

import pytest

from llmux.server._words import STATES

PAGE = files("llmux.server") / "page"
STYLE = (PAGE / "style.css").read_text()
SCHEMES = (0, 1)  # light and dark
AA_GRAPHICS, AA_TEXT = 3.0, 4.5
"""WCAG 2.2, success criteria 1.4.11 and 1.4.3."""
APART = 0.1
"""In Oklab, whose unit is from black to white."""
_PAIR = r"light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)"

Colour = tuple[float, float, float]  # linear light


def colours(pattern: str, scheme: int) -> dict[str, Colour]:
    """Return what the style sheet says, by the name that `pattern` catches."""
    return {found[0]: linear(found[1 + scheme]) for found in re.findall(f"{pattern}{_PAIR}", STYLE)}


def linear(written: str) -> Colour:
    parts = (int(written[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return red, green, blue


def contrast(one: Colour, other: Colour) -> float:
    """Return it as WCAG reckons."""
    weights = (0.2126, 0.7152, 0.0722)
    dark, light = sorted(sum(w * c for w, c in zip(weights, each, strict=True)) for each in (one, other))
    return (light + 0.05) / (dark + 0.05)


def distance(one: Colour, other: Colour) -> float:
    """Return how far apart two colours look, in Oklab (https://bottosson.github.io/posts/oklab/)."""
    return sum((a - b) ** 2 for a, b in zip(oklab(one), oklab(other), strict=True)) ** 0.5


def oklab(colour: Colour) -> tuple[float, ...]:
    cones = (
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    )
    axes = (
        (0.2104542553, 0.7936177850, -0.0040720468),
        (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660),
    )
    seen = [sum(w * c for w, c in zip(row, colour, strict=True)) ** (1 / 3) for row in cones]
    return tuple(sum(w * c for w, c in zip(row, seen, strict=True)) for row in axes)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_state_has_a_colour_that_stands_out(scheme):
    states, grounds = colours(r"\.(\w+) \{ --state: ", scheme), colours(r"--(\w+): ", scheme)
    assert set(states) == set(STATES)
    for (name, colour), ground in product(states.items(), ("ground", "card", "sunk")):
        least = AA_GRAPHICS if ground == "sunk" else AA_TEXT  # the time line; where states are written too
        assert contrast(colour, grounds[ground]) >= least, (name, ground)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_two_states_look_alike(scheme):
    for (one, first), (other, second) in combinations(colours(r"\.(\w+) \{ --state: ", scheme).items(), 2):
        assert distance(first, second) >= APART, (one, other)


def test_each_state_has_a_shape_of_its_own():
    (table,) = re.findall(r"const SHAPES = \{(.*?)\n\};", (PAGE / "timeline.js").read_text(), re.DOTALL)
    shapes = dict(re.findall(r"(\w+): (\[\[.*\]\]),", table))
    assert set(shapes) == set(STATES)
    assert len(set(shapes.values())) == len(shapes)
