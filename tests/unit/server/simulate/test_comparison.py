import json

from llmux.server.scheduling.fifo import Fifo
from llmux.server.simulate import comparison
from llmux.server.simulate.run import simulate
from llmux.server.simulate.scenario import Request, plain

OUTCOME = simulate(plain(("a",)), (Request(0, "a", 5.0), Request(2, "a", 5.0)), Fifo())


def test_a_row_has_a_field_for_each_column():
    row = dict(zip(comparison.COLUMNS, comparison.row("fifo", OUTCOME.summary()), strict=True))
    assert row["policy"] == "fifo"
    assert (row["p50"], row["p99"], row["worst turn"], row["of"]) == ("3.0", "5.0", "5.0", "a")
    assert (row["wakes"], row["answered"]) == ("1", "2/2")


def test_the_same_as_json():
    data = json.loads(json.dumps(comparison.as_data({"fifo": OUTCOME}, 60.0)))
    assert data["bound"] == 60
    assert data["policies"]["fifo"]["p99"] == 5


def test_a_table_for_a_page():
    assert comparison.markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
