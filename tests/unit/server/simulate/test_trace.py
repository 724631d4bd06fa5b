import pytest

from llmux.server.simulate import trace
from llmux.server.simulate.scenario import Request


def test_lines_are_requests_in_the_order_of_their_times():
    lines = ['{"at": 2, "model": "b", "tokens": 7}\n', "\n", '{"at": 0.5, "model": "a", "seconds": 1.5}']
    requests, faults = trace.parse(lines)
    assert requests == (Request(0.5, "a", 1.5), Request(2.0, "b", None, 7))
    assert faults == ()


def test_what_is_written_reads_the_same():
    requests = (Request(0.5, "a", 1.5), Request(2.0, "ü", None, 7), Request(3.0, "c"))
    assert trace.parse(trace.written(requests).splitlines()) == (requests, ())


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ('{"at": 1, "model": "a"', 23, "not JSON"),
        ("[1]", 1, "no object"),
        ("[" * 100_000, 1, "nested too deep"),
        ('{"model": "a"}', 1, "at: is missing"),
        ('{"at": 1}', 1, "model: is missing"),
        ('{"at": 1, "model": 3}', 11, "no name"),
        ('{"at": -1, "model": "a"}', 2, "no number"),
        ('{"at": NaN, "model": "a"}', 2, "no number"),
        ('{"at": true, "model": "a"}', 2, "no number"),
        ('{"at": 1, "model": "a", "secs": 2}', 25, "no field"),
        ('{"at": 1, "model": "a", "tokens": 1.5}', 25, "no whole number"),
        ('{"at": 1, "model": "a", "seconds": 1e400}', 25, "no number"),
    ],
)
def test_a_bad_line_says_where_and_what(line, column, says):
    requests, (fault,) = trace.parse(['{"at": 0, "model": "a"}', line])
    assert requests == (Request(0.0, "a"),)
    assert (fault.line, fault.column) == (2, column)
    assert says in fault.message
    assert str(fault).startswith(f"line 2, column {column}: ")


def test_all_bad_lines_are_named():
    assert [f.line for f in trace.parse(["x", '{"at": 0, "model": "a"}', "y"])[1]] == [1, 3]
