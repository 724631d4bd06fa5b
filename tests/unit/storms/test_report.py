"""What a storm's table and its list of faults say."""

from rich.console import Console

from storms.client import Book, Record
from storms.judge import Ask, Ending, Kind, Reply, Verdict
from storms.report import percentile, render
from storms.storm import Outcome, Storm

LOG = """\
{"level": "info", "message": "m0: asleep -> waking"}
{"level": "info", "message": "m0: waking -> running"}
what a sandbox says: m0: waking -> running
{"level": "info", "message": "m1: starting -> running"}
"""


async def _nothing(_weather):
    pass


def record(kind, code="", waited=0.5, part=""):
    reply = Reply(Ending.WHOLE, 200, waited=waited)
    return Record(Ask("n", "m", "p"), reply, Verdict(kind, code, "why"), part)


def outcome(*records, sent=None, traces=(), log=LOG, **fields):
    storm = Storm("gale", "much wind", _nothing, 1, 10, **fields)
    book = Book(len(records) if sent is None else sent, list(records))
    return Outcome(storm, book, 2.0, frozenset(traces), log)


def test_a_storm_without_faults_has_none():
    assert outcome(record(Kind.ANSWERED), record(Kind.LEFT)).faults() == []


def test_each_kind_of_fault_is_named():
    found = outcome(
        record(Kind.ANSWERED),
        record(Kind.CROSSED),
        record(Kind.HONEST, "503 no_room"),
        sent=4,
        traces=["port 0BB8"],
    ).faults()
    assert [fault.split(":")[0] for fault in found] == [
        "crossed",
        "not to be excused",
        "1 requests of which nothing is known",
        "left behind",
    ]


def test_what_may_be_left_behind_is_no_fault():
    traces = ["socket /tmp/a", "port 0BB8"]
    assert outcome(record(Kind.ANSWERED), traces=traces, may_leave=("socket", "port")).faults() == []


def test_an_engines_start_explains_as_many_sockets_as_it_leaves_and_no_more():
    log = "09:00 INFO m0: cold_start in 3.00 s (it had not been started before)\n09:01 INFO m0: restored in 1.00 s\n"
    traces = ["socket /tmp/a", "socket /tmp/b", "port 0BB8"]
    found = outcome(record(Kind.ANSWERED), traces=traces, log=log, sockets_of_start=1)
    assert found.faults() == ["left behind: port 0BB8", "left behind: socket /tmp/b"]
    assert rows(found)["left behind"] == "2"


def test_a_storm_without_an_answer_proves_nothing():
    assert outcome(record(Kind.HONEST, "503 x"), excused=("503",)).faults() == ["not a single answer"]


def rows(of):
    console = Console(width=80, record=True, quiet=False, file=None)
    with console.capture() as captured:
        console.print(render(of))
    lines = [line.strip("│ ").split("│") for line in captured.get().splitlines() if "│" in line]
    return {what.strip(): count.strip() for what, count in lines}


def test_the_table_counts_all_and_names_the_errors():
    records = [record(Kind.ANSWERED, waited=each / 100) for each in range(1, 101)]
    said = rows(outcome(*records, record(Kind.HONEST, "429 queue_full")))
    assert said["requests"] == "101"
    assert said["answers"] == "100"
    assert said["honest error: 429 queue_full"] == "1"
    assert said["wait, median"] == "0.50 s"
    assert said["wait, p99"] == "0.99 s"
    assert said["switches"] == "2"


def test_the_table_tells_the_parts_of_a_storm_apart():
    flood = [record(Kind.ANSWERED, waited=waited, part="flood") for waited in (3, 1, 2)]
    said = rows(outcome(record(Kind.ANSWERED, part="calm"), *flood, record(Kind.LEFT, part="flood")))
    assert said["calm"] == "1 answers, median 0.50 s, p99 0.50 s"
    assert said["flood"] == "3 answers, median 2.00 s, p99 3.00 s"


def test_a_percentile_is_one_of_the_values():
    assert percentile([], 99) == 0
    assert percentile([1.0], 50) == 1
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2
    assert percentile([1.0, 2.0, 3.0, 4.0], 99) == 4
