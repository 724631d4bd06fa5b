import pytest

from llmux.server.simulate import access_log
from llmux.server.simulate.scenario import Request

COMMON = '1.2.3.4 - - [10/Oct/2025:13:55:{second:02} +0000] "POST {target} HTTP/1.1" 200 123'


def _line(second, target, rest=""):
    return COMMON.format(second=second, target=target) + rest


def test_lines_of_the_common_and_the_combined_format():
    lines = [
        _line(36, "/v1/completions?model=llama%203&x=1", ' "-" "curl/8.5" 1.250'),
        _line(38, "/models/org%2Fqwen/v1/completions"),
        _line(39, "/health"),
    ]
    assert access_log.parse(lines) == ((Request(0.0, "llama 3", 1.25), Request(2.0, "org/qwen")), ())


def test_a_quote_in_an_agent_and_a_status_are_no_seconds():
    assert access_log.parse([_line(1, "/?model=a", ' "-" "a \\" 2.5 b"')])[0] == (Request(0.0, "a"),)


def test_json_lines_with_the_names_that_people_use():
    lines = [
        '{"time": "2025-10-10T13:55:36Z", "model": "a", "completion_tokens": 12}',
        '{"ts": 1760104540.5, "model_name": "b", "duration": 2.5}',
        '{"time": "2025-10-10T13:55:37Z", "path": "/health"}',
    ]
    assert access_log.parse(lines) == ((Request(0.0, "a", None, 12), Request(4.5, "b", 2.5)), ())


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("what is this", 1, "common log format"),
        ('h - - [yesterday] "GET /?model=a HTTP/1.1" 200 1', 8, "no time"),
        ('{"model": "a"}', 1, "no time"),
        ('{"time": "noon", "model": "a"}', 2, "no time"),
        ('{"time": 1, "model": 7}', 13, "no name"),
        ('{"time": 1, "model": "a", "tokens": "x"}', 27, "no number"),
        ('{"time": ', 10, "not JSON"),
    ],
)
def test_a_bad_line_says_where_and_what(line, column, says):
    requests, (fault,) = access_log.parse([line])
    assert requests == ()
    assert (fault.line, fault.column) == (1, column)
    assert says in fault.message
