"""Each fault on demand, as whoever is around the engine sees it."""

import json
import os
import signal
from http.client import BadStatusLine, RemoteDisconnected
from pathlib import Path

import pytest

from .conftest import running

_STREAM = {"prompt": "The", "stream": True, "max_tokens": 100, "ignore_eos": True}


@pytest.fixture
def faulty(models, tmp_path):
    """Start an engine that has faults on demand."""

    def start(*options):
        return running(models[0], tmp_path, "--allow-faults", *options)

    return start


@pytest.fixture(scope="module")
def enduring(models, tmp_path_factory):
    """One engine for the faults that it survives."""
    with running(models[0], tmp_path_factory.mktemp("enduring"), "--allow-faults") as started:
        yield started


def _fault(engine, kind, amount=1):
    answer = engine.post("/fault", {"kind": kind, "amount": amount})
    assert answer.status == 200, answer.text


def test_faults_are_offered_only_where_allowed_and_wrong_ones_are_refused(engine, enduring):
    assert engine.post("/fault", {"kind": "none"}).status == 404
    for wrong in ({"kind": "earthquake"}, {"kind": ["stall"]}):
        assert enduring.post("/fault", wrong).json["error"]["param"] == "kind"
    for amount in (-1, "x", True):
        answer = enduring.post("/fault", {"kind": "slow", "amount": amount})
        assert answer.json["error"]["param"] == "amount"
    assert enduring.chat().status == 200


def test_a_crash_of_the_api_ends_the_engine(faulty):
    with faulty() as engine:
        with pytest.raises((RemoteDisconnected, ConnectionError)):
            engine.post("/fault", {"kind": "crash_api"})
        assert engine.process.wait(60) == -signal.SIGKILL


def test_a_crash_of_the_worker_ends_the_engine(faulty):
    with faulty() as engine:
        _fault(engine, "crash_worker")
        assert engine.process.wait(60) == 1


def test_a_hang_of_the_api_answers_nothing_and_no_sigterm(faulty):
    with faulty() as engine:
        with pytest.raises(TimeoutError), engine.open("POST", "/fault", {"kind": "hang_api"}, timeout=1):
            pass
        with pytest.raises(TimeoutError), engine.open("GET", "/health", timeout=1):
            pass
        engine.process.terminate()
        assert engine.process.poll() is None
        engine.process.kill()


def test_a_hang_of_the_worker_leaves_health_good_and_requests_without_answer(enduring):
    worker = enduring.get("/instance").json["worker_pid"]
    _fault(enduring, "hang_worker")
    assert enduring.get("/health").status == 200
    with pytest.raises(TimeoutError), enduring.open("POST", "/v1/completions", _STREAM, timeout=1):
        pass
    os.kill(worker, signal.SIGCONT)
    assert enduring.chat().status == 200


def test_garbage_is_no_json_or_no_http_as_often_as_asked(enduring):
    _fault(enduring, "garbage_body", 2)
    for _ in range(2):
        with enduring.open("POST", "/v1/completions", {"prompt": "x"}) as response:
            assert response.status == 200
            with pytest.raises(ValueError):  # noqa: PT011 - UnicodeDecodeError or JSONDecodeError
                json.loads(response.read())
    _fault(enduring, "garbage_http")
    with pytest.raises(BadStatusLine):
        enduring.post("/v1/completions", {"prompt": "x"})
    assert enduring.post("/v1/completions", {"prompt": "x"}).json["choices"]


def test_a_stalled_stream_stays_open_without_more(enduring):
    _fault(enduring, "stall", 4)
    with enduring.open("POST", "/v1/completions", _STREAM, timeout=1) as response:
        assert response.readline().startswith(b"data: ")
        with pytest.raises(TimeoutError):
            response.read()
    _fault(enduring, "none")
    assert enduring.chat().status == 200


def test_slow_tokens(enduring):
    _fault(enduring, "slow", 5)
    with pytest.raises(TimeoutError), enduring.open("POST", "/v1/completions", _STREAM, timeout=1):
        pass
    _fault(enduring, "slow", 0)
    assert enduring.chat().status == 200


def test_memory_grows(enduring):
    def resident():
        status = Path(f"/proc/{worker}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10

    worker = enduring.get("/instance").json["worker_pid"]
    before = resident()
    _fault(enduring, "grow", 64 << 20)
    assert resident() - before >= 60 << 20


@pytest.mark.parametrize(("kind", "path"), [("exit_at_sleep", "/sleep"), ("exit_at_wake", "/wake_up")])
def test_an_exit_at_a_sleep_or_a_wake(faulty, kind, path):
    with faulty() as engine:
        _fault(engine, kind)
        assert engine.chat().status == 200
        with pytest.raises((RemoteDisconnected, ConnectionError)):
            engine.post(path)
        assert engine.process.wait(60) == 3


def test_a_fault_from_the_start_waits_for_its_moment(models, tmp_path):
    with running(models[0], tmp_path, "--fault", "hang_at_sleep", "--fault", "stall=2") as engine:
        assert engine.post("/fault", {"kind": "none"}).status == 404
        with pytest.raises(TimeoutError), engine.open("POST", "/sleep", timeout=1):
            pass
        with pytest.raises(TimeoutError), engine.open("POST", "/v1/completions", _STREAM, timeout=1) as sent:
            sent.read()
