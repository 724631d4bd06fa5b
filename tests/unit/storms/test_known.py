"""What the judge of unsigned answers takes for a right one, and what it sees in a wrong one."""

import json

import pytest

from storms.judge import Ask, Ending, Kind, Reply, Verdict, judge
from storms.known import Known, UnknowableError, read_form

PLAIN = Ask("n1", "m0", "Where?")
STREAM = Ask("n1", "m0", "Where?", stream=True)


def whole(ask, text, **changed):
    """Return the body of an answer as vLLM sends it."""
    said = {"nonce": ask.nonce, "model": ask.model, "finish": "length", "tokens": ask.tokens} | changed
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": said["finish"]}
    usage = {"completion_tokens": said["tokens"]}
    return json.dumps(
        {"id": f"chatcmpl-{said['nonce']}", "model": said["model"], "choices": [choice], "usage": usage}
    )


def stream(ask, *texts, finishes=("length",), ends=1, more=(), **changed):
    """Return the body of a streamed answer, `more` being chunks put in before its end."""
    said = {"nonce": ask.nonce, "model": ask.model} | changed
    head = {"id": f"chatcmpl-{said['nonce']}", "model": said["model"]}
    deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts)]
    chunks = [{**head, "choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks += [{**head, "choices": [{"delta": {}, "finish_reason": finish}]} for finish in finishes]
    events = [*map(json.dumps, [*chunks, *more]), *(["[DONE]"] * ends)]
    return "".join(f"data: {event}\n\n" for event in events)


@pytest.fixture
def known():
    others = (Ask("n2", "m1", "Where?"), Ask("n3", "m0", "When?"), Ask("n4", "m0", "Where?", tokens=300))
    texts = ("on the tower", "at dusk", "in the log, in the log")
    pairs = zip((PLAIN, *others), ("in the log", *texts), strict=True)
    return Known.by((ask, whole(ask, text)) for ask, text in pairs)


def verdict(known, ask, body):
    return judge(ask, Reply(Ending.WHOLE, 200, body=body), known.read)


def test_what_a_model_is_known_to_say_is_an_answer_whole_and_streamed(known):
    assert verdict(known, PLAIN, whole(PLAIN, "in the log")) == Verdict(Kind.ANSWERED)
    assert verdict(known, STREAM, stream(STREAM, "in ", "the", " log")) == Verdict(Kind.ANSWERED)


@pytest.mark.parametrize("text", ["on the tower", "at dusk", "in the log, in the log"])
def test_the_text_of_another_model_prompt_or_length_is_crossed(known, text):
    assert verdict(known, PLAIN, whole(PLAIN, text)).kind is Kind.CROSSED
    assert verdict(known, STREAM, stream(STREAM, text)).kind is Kind.CROSSED


@pytest.mark.parametrize("changed", [{"nonce": "n9"}, {"model": "m1"}])
def test_the_answer_to_another_request_is_crossed_though_its_text_is_right(known, changed):
    assert verdict(known, PLAIN, whole(PLAIN, "in the log", **changed)).kind is Kind.CROSSED
    assert verdict(known, STREAM, stream(STREAM, "in the log", **changed)).kind is Kind.CROSSED


def test_a_stream_with_a_piece_of_another_answer_is_crossed(known):
    piece = {"id": "chatcmpl-n9", "model": "m0", "choices": []}
    assert verdict(known, STREAM, stream(STREAM, "in the log", more=[piece])).kind is Kind.CROSSED


def test_what_lacks_its_end_is_cut(known):
    assert verdict(known, PLAIN, whole(PLAIN, "in the")).kind is Kind.CUT
    assert verdict(known, PLAIN, whole(PLAIN, "in the log", tokens=7)).kind is Kind.CUT
    assert verdict(known, PLAIN, whole(PLAIN, "in the log", finish="stop")).kind is Kind.CUT
    assert verdict(known, STREAM, stream(STREAM, "in the")).kind is Kind.CUT
    assert verdict(known, STREAM, stream(STREAM, "in the log", ends=0)).kind is Kind.CUT
    assert verdict(known, STREAM, stream(STREAM, "in the log", finishes=())).kind is Kind.CUT
    assert verdict(known, STREAM, "").kind is Kind.CUT


def test_what_follows_the_end_of_a_stream_is_not_taken_for_an_answer(known):
    late = stream(STREAM, "in the log") + f"data: {json.dumps({'id': 'x', 'model': 'm0', 'choices': []})}\n\n"
    assert verdict(known, STREAM, late).kind is Kind.CROSSED
    own = {"id": f"chatcmpl-{STREAM.nonce}", "model": "m0", "choices": []}
    assert (
        verdict(known, STREAM, stream(STREAM, "in the log") + f"data: {json.dumps(own)}\n\n").kind is Kind.CUT
    )


def test_what_comes_twice_is_doubled(known):
    assert verdict(known, STREAM, stream(STREAM, "in the log", "in the log")).kind is Kind.DOUBLED
    assert verdict(known, STREAM, stream(STREAM, "in the log", ends=2)).kind is Kind.DOUBLED
    assert verdict(known, STREAM, stream(STREAM, "in the log", finishes=("length",) * 2)).kind is Kind.DOUBLED


def test_any_other_text_is_wrong(known):
    assert verdict(known, PLAIN, whole(PLAIN, "in the fog")).kind is Kind.WRONG


def test_a_question_whose_answer_nobody_has_learnt_is_wrong(known):
    other = Ask("n1", "m0", "Who?")
    assert verdict(known, other, whole(other, "me")).kind is Kind.WRONG


def test_what_is_visibly_broken_off_is_honest(known):
    error = {"error": {"message": "the engine ended"}}
    assert verdict(known, STREAM, stream(STREAM, "in", finishes=(), ends=0, more=[error])) == Verdict(
        Kind.HONEST, "broken off by an event"
    )
    assert verdict(known, STREAM, stream(STREAM, "in", finishes=("abort",))).code == "aborted"
    assert verdict(known, PLAIN, whole(PLAIN, "in", finish="abort")).code == "aborted"


@pytest.mark.parametrize("body", ["", "\0", "[]", "{}", '{"choices": []}', '{"choices": [{}]}'])
def test_garbage_is_wrong(known, body):
    assert verdict(known, PLAIN, body).kind is Kind.WRONG
    assert verdict(known, STREAM, f"data: x{body}\n\n").kind is Kind.WRONG


def test_before_anything_is_known_an_answers_form_is_judged():
    assert read_form(PLAIN, whole(PLAIN, "whatever")) == Verdict(Kind.ANSWERED)
    assert read_form(PLAIN, whole(PLAIN, "whatever", model="m1")).kind is Kind.CROSSED
    assert read_form(STREAM, stream(STREAM, "whatever", ends=0)).kind is Kind.CUT


def test_a_model_that_says_now_this_now_that_is_unknowable():
    with pytest.raises(UnknowableError, match="is answered by 'in the fog' and by 'in the log'"):
        Known.by([(PLAIN, whole(PLAIN, "in the log")), (STREAM, stream(STREAM, "in the fog"))])


def test_models_that_say_the_same_cannot_be_told_apart():
    other = Ask("n2", "m1", "Where?")
    with pytest.raises(UnknowableError, match="has the answer of m0"):
        Known.by([(PLAIN, whole(PLAIN, "in the log")), (other, whole(other, "in the log"))])


def test_one_model_may_say_the_same_to_two_questions():
    other = Ask("n2", "m0", "When?")
    known = Known.by([(PLAIN, whole(PLAIN, "in the log")), (other, whole(other, "in the log"))])
    assert verdict(known, other, whole(other, "in the log")) == Verdict(Kind.ANSWERED)
    assert verdict(known, other, whole(PLAIN, "in the log")).kind is Kind.CROSSED


def test_a_question_asked_whole_and_streamed_has_one_answer(known):
    again = Known.by([(PLAIN, whole(PLAIN, "in the log")), (STREAM, stream(STREAM, "in the", " log"))])
    assert list(again.texts.values()) == ["in the log"]
