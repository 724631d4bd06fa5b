from xml.etree import ElementTree as ET

from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.fifo import Fifo
from llmux.server.simulate import timeline
from llmux.server.simulate.run import simulate
from llmux.server.simulate.scenario import Request, plain

NODE = plain(("a", "<b> & co"), 1)
TRACE = tuple(Request(i * 3.0, tuple(NODE.models)[i % 2], 1.0) for i in range(10))
SVG = "{http://www.w3.org/2000/svg}"


def _drawn(outcomes):
    return ET.fromstring(timeline.draw(outcomes))


def test_each_policy_has_a_row_for_each_model_and_the_picture_is_well_formed():
    root = _drawn({"fair": simulate(NODE, TRACE, Fair()), "fifo": simulate(NODE, TRACE, Fifo())})
    texts = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert texts.count("a") == texts.count("<b> & co") == 2
    assert any(text.startswith("fair") and "p99" in text for text in texts)


def test_a_span_is_drawn_for_each_time_that_a_model_was_not_at_rest():
    outcome = simulate(NODE, TRACE, Fifo())
    rects = [
        r for r in _drawn({"fifo": outcome}).iter(f"{SVG}rect") if r.get("fill") in timeline._COLOURS.values()
    ]
    assert len(rects) == len(outcome.spans) + len(timeline._COLOURS)  # the legend has one of each


def test_everything_is_inside_the_picture():
    root = _drawn({"fifo": simulate(NODE, TRACE, Fifo())})
    width, height = float(root.get("width")), float(root.get("height"))
    for rect in root.iter(f"{SVG}rect"):
        assert 0 <= float(rect.get("x", 0)) + float(rect.get("width")) <= width
        assert 0 <= float(rect.get("y", 0)) + float(rect.get("height")) <= height


def test_nothing_at_all_can_be_drawn():
    assert _drawn({}).tag == f"{SVG}svg"
    assert _drawn({"fifo": simulate(NODE, (), Fifo())}).tag == f"{SVG}svg"
