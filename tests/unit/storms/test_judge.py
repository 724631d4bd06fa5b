"""What the judge of a storm takes for an answer, for an honest error, and for a fault."""

import json

import pytest

from llmux.tiny_engine._signature import Nonces, prompt_digest
from storms.judge import AGAIN, Ask, Ending, Kind, Reply, Verdict, judge, messages

PLAIN = Ask("n1", "m0", "Where?")
STREAM = Ask("n1", "m0", "Where?", stream=True)


def signature(ask, text, times=1):
    nonces = Nonces()
    for _ in range(times):
        signer = nonces.signer(ask.nonce, ask.model, prompt_digest(messages(ask)))
    return signer.sign(text)


def whole(text="here", finish="length", **fields):
    choice = {"message": {"content": text}, "finish_reason": finish}
    return Reply(Ending.WHOLE, 200, body=json.dumps({"choices": [choice], **fields}))


def stream(*texts, finish="length", end=(), done="[DONE]"):
    chunks = [{"choices": [{"delta": {"content": text}, "finish_reason": None}]} for text in texts]
    chunks.append({"choices": [{"delta": {}, "finish_reason": finish}]})
    chunks += [{"choices": [], **field} for field in end]
    events = [*map(json.dumps, chunks), *([done] if done else [])]
    return Reply(Ending.WHOLE, 200, body="".join(f"data: {event}\n\n" for event in events))


def refusal(status, headers=None, **fields):
    error = {"message": "full", "code": "queue_full", "hint": "wait"} | fields
    headers = {"Retry-After": "3"} if headers is None else headers
    return Reply(Ending.WHOLE, status, headers, json.dumps({"error": error}))


def kind(ask, reply):
    return judge(ask, reply).kind


def test_a_signed_answer_is_one():
    assert judge(PLAIN, whole("here", **signature(PLAIN, "here"))) == Verdict(Kind.ANSWERED)
    assert judge(STREAM, stream("he", "re", end=[signature(STREAM, "here")])) == Verdict(Kind.ANSWERED)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_honest_error_has_message_code_and_hint(status):
    assert judge(PLAIN, refusal(status)) == Verdict(Kind.HONEST, f"{status} queue_full")
    for missing in ("message", "code", "hint"):
        assert kind(PLAIN, refusal(status, **{missing: ""})) is Kind.WRONG


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}, {"Retry-After": "soon"}])
def test_a_full_queue_says_when_to_come_again(headers):
    assert kind(PLAIN, refusal(429, headers)) is Kind.WRONG


def test_an_engines_own_refusal_is_honest_without_a_hint():
    own = Reply(
        Ending.WHOLE, 503, body='{"error": {"message": "dead", "type": "EngineDeadError", "code": 503}}'
    )
    assert judge(PLAIN, own) == Verdict(Kind.HONEST, "503 EngineDeadError of the engine")


@pytest.mark.parametrize("status", [400, 403, 500])
def test_other_errors_are_not_honest(status):
    assert kind(PLAIN, refusal(status)) is Kind.WRONG


def test_what_is_visibly_broken_off_is_honest():
    assert judge(STREAM, Reply(Ending.BROKEN, 200, body="data: {")).code == "broken off"
    assert judge(STREAM, Reply(Ending.REFUSED)).code == "unreachable"
    assert judge(STREAM, stream("he", end=[{"error": {}}])).code == "broken off by an event"
    assert judge(STREAM, stream("he", finish="abort")).code == "aborted"
    assert judge(PLAIN, whole("he", "abort")).code == "aborted"


def test_what_ends_well_without_a_signature_is_cut():
    assert kind(PLAIN, whole()) is Kind.CUT
    assert kind(STREAM, stream("he")) is Kind.CUT
    assert kind(STREAM, stream("here", end=[signature(STREAM, "here")], done="")) is Kind.CUT
    assert kind(STREAM, Reply(Ending.WHOLE, 200)) is Kind.CUT


def test_a_text_that_is_not_the_signed_one_is_cut():
    assert kind(PLAIN, whole("her", **signature(PLAIN, "here"))) is Kind.CUT
    assert kind(STREAM, stream("he", end=[signature(STREAM, "here")])) is Kind.CUT
    assert kind(STREAM, stream("he", "he", "re", end=[signature(STREAM, "here")])) is Kind.CUT


@pytest.mark.parametrize(
    "other", [Ask("n2", "m0", "Where?"), Ask("n1", "m1", "Where?"), Ask("n1", "m0", "When?")]
)
def test_the_answer_to_another_request_is_crossed(other):
    assert kind(PLAIN, whole("here", **signature(other, "here"))) is Kind.CROSSED


def test_what_an_engine_was_asked_twice_is_told_apart():
    twice = whole("here", **signature(PLAIN, "here", times=2))
    assert judge(PLAIN, twice) == Verdict(Kind.ANSWERED, AGAIN)


def test_what_is_signed_twice_is_doubled():
    assert kind(STREAM, stream("here", end=[signature(STREAM, "here")] * 2)) is Kind.DOUBLED


def test_no_end_is_lost_and_who_leaves_is_not():
    assert kind(PLAIN, Reply(Ending.LATE)) is Kind.LOST
    assert kind(PLAIN, Reply(Ending.LEFT)) is Kind.LEFT


@pytest.mark.parametrize("body", ["", "\0", "[]", "{}", '{"choices": []}', '{"choices": [{}]}'])
def test_garbage_is_wrong(body):
    assert kind(PLAIN, Reply(Ending.WHOLE, 200, body=body)) is Kind.WRONG
    assert kind(PLAIN, Reply(Ending.WHOLE, 503, body=body)) is Kind.WRONG
    assert kind(STREAM, Reply(Ending.WHOLE, 200, body=f"data: x{body}\n\n")) is Kind.WRONG
