"""The HTTP API of a running engine."""

import json

import pytest

from llmux.tiny_engine._signature import digest, prompt_digest


def _events(text: str) -> list[str]:
    return [event.removeprefix("data: ") for event in text.split("\n\n") if event]


def test_same_question_same_answer(engine):
    assert engine.answer() == engine.answer() != ""


def test_a_seed_repeats_a_drawn_answer(engine):
    assert len({engine.answer(temperature=1.5, seed=7) for _ in range(3)}) == 1
    assert len({engine.answer(temperature=1.5, seed=seed) for seed in range(5)}) > 1


def test_another_seed_of_training_answers_differently(engine, start):
    with start(seed=1) as other:
        assert other.answer() != engine.answer()


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_stream_carries_the_whole_answer(engine, path):
    asked = {"temperature": 0, "max_tokens": 12}
    asked |= (
        {"prompt": "The lamp"}
        if path == "/v1/completions"
        else {"messages": [{"role": "user", "content": "Hi"}]}
    )
    whole = engine.post(path, asked).json
    choice = whole["choices"][0]
    *chunks, usage, done = _events(
        engine.post(path, {**asked, "stream": True, "stream_options": {"include_usage": True}}).text
    )
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
    text = "".join(part.get("text", "") or part.get("delta", {}).get("content", "") for part in choices)
    assert done == "[DONE]"
    assert text == (choice["text"] if "text" in choice else choice["message"]["content"])
    assert [part["finish_reason"] for part in choices[-2:]] == [None, choice["finish_reason"]]
    assert json.loads(usage)["usage"] == whole["usage"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_an_answer_to_a_nonce_is_signed_whole_and_in_pieces(engine, path):
    prompt = "The lamp" if path == "/v1/completions" else [{"role": "user", "content": "Hi"}]
    field = "prompt" if path == "/v1/completions" else "messages"
    asked = {"temperature": 0, "max_tokens": 12, field: prompt}
    whole = engine.post(path, asked, nonce=f"whole{path}").json
    text = whole["choices"][0].get("text") or whole["choices"][0]["message"]["content"]
    assert whole["signature"] == {
        "model": "tiny",
        "nonce": f"whole{path}",
        "prompt_sha256": prompt_digest(prompt),
        "text_sha256": digest(text),
        "times": 1,
    }
    *_, last, done = _events(engine.post(path, {**asked, "stream": True}, nonce=f"stream{path}").text)
    assert done == "[DONE]"
    assert json.loads(last)["choices"] == []
    assert json.loads(last)["signature"] == {**whole["signature"], "nonce": f"stream{path}"}
    assert "signature" not in engine.post(path, asked).json


def test_stop_ends_the_text_before_it(engine):
    whole = engine.answer(max_tokens=30)
    stop = whole[5:9]
    choice = engine.chat(max_tokens=30, stop=[stop]).json["choices"][0]
    assert choice["message"]["content"] == whole[: whole.index(stop)]
    assert choice["finish_reason"] == "stop"
    assert engine.metric("vllm:num_requests_running") == 0


def test_several_answers_are_drawn_apart_and_by_the_seed(engine):
    asked = {"temperature": 1.5, "seed": 3, "n": 3, "max_tokens": 8, "ignore_eos": True}
    answer = engine.chat(**asked).json
    said = [choice["message"]["content"] for choice in answer["choices"]]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len(set(said)) > 1
    assert answer["usage"]["completion_tokens"] == 24
    assert said[1] == engine.answer(**{**asked, "n": 1, "seed": 4})
    chunks = [json.loads(event) for event in _events(engine.chat(**asked, stream=True).text)[:-1]]
    streamed = ["", "", ""]
    for choice in (each["choices"][0] for each in chunks):
        streamed[choice["index"]] += choice["delta"].get("content", "")
    assert streamed == said


def test_log_probabilities_are_those_of_the_model_and_the_likeliest_is_chosen(engine):
    asked = {"max_tokens": 6, "ignore_eos": True}
    told = engine.chat(logprobs=True, top_logprobs=2, **asked).json["choices"][0]["logprobs"]["content"]
    assert len(told) == 6
    for token in told:
        assert token["token"] == token["top_logprobs"][0]["token"] == bytes(token["bytes"]).decode()
        assert 0 >= token["logprob"] >= token["top_logprobs"][1]["logprob"]
    body = {"prompt": "The lamp", "temperature": 0, "logprobs": 1, **asked}
    choice = engine.post("/v1/completions", body).json["choices"][0]
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert (
        len(logprobs["token_logprobs"]) == len(logprobs["top_logprobs"]) == len(logprobs["text_offset"]) == 6
    )
    assert engine.chat(**asked).json["choices"][0]["logprobs"] is None


def test_usage_counts_tokens(engine):
    usage = engine.chat(max_tokens=9, ignore_eos=True).json["usage"]
    assert usage["completion_tokens"] == 9
    assert usage["total_tokens"] == usage["prompt_tokens"] + 9


def test_a_prompt_seen_before_is_taken_from_the_prefix_cache(engine):
    before = engine.metric("vllm:prefix_cache_hits_total")
    prompt = "The keeper wrote the log each evening and then he sat down. " * 4
    assert engine.answer(prompt) == engine.answer(prompt)
    assert engine.metric("vllm:prefix_cache_hits_total") > before
    engine.post("/reset_prefix_cache")
    assert engine.metric("tiny:cached_prefixes") == 0


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "other"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "cat", "content": "x"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "word " * 9000}]}, 400, "messages"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"temperature": -1}, 400, "temperature"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"stop": [1]}, 400, "stop"),
        ({"n": 17}, 400, "n"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
        ({"stop": {}}, 400, "stop"),
        ({"model": ["tiny"]}, 404, "model"),
        ({"n": [2]}, 400, "n"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, 400, "messages[0].role"),
    ],
)
def test_a_wrong_field_is_named_in_openais_form(engine, body, status, param):
    answer = engine.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], **body})
    assert (answer.status, answer.json["error"]["param"]) == (status, param)
    assert answer.json["error"]["code"] == status


def test_unknown_paths_and_broken_bodies_are_refused_in_openais_form(engine):
    assert engine.get("/v1/nothing").json["error"]["code"] == 404
    assert engine.post("/v1/completions", None).json["error"]["code"] == 400
    assert engine.post("/sleep?level=3").json["error"]["param"] == "level"
    assert engine.post("/wake_up?tags=all").json["error"]["param"] == "tags"
    assert engine.post("/collective_rpc", {"method": "exit"}).json["error"]["param"] == "method"


def test_adapters_are_loaded_at_run_time_only_where_that_is_allowed(engine):
    assert engine.post("/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/a"}).status == 404


def test_models_and_instance(engine):
    first, second = engine.get("/instance").json, engine.get("/instance").json
    assert engine.get("/v1/models").json["data"][0]["id"] == "tiny"
    assert first == second
    assert engine.answer()
    assert engine.get("/instance").json["requests_answered"] == first["requests_answered"] + 1


def test_a_client_that_goes_away_stops_its_request(start):
    with start("--token-delay", "0.05") as engine:
        body = {"prompt": "The", "max_tokens": 2000, "ignore_eos": True, "stream": True}
        with engine.open("POST", "/v1/completions", body) as response:
            assert response.readline().startswith(b"data: ")
            assert engine.metric("vllm:num_requests_running") == 1
        engine.until(lambda: engine.metric("vllm:num_requests_running") == 0, "the request has stopped")
        assert engine.metric("tiny:requests_aborted_total") == 1
        made = engine.metric("vllm:generation_tokens_total")
        assert made == engine.metric("vllm:generation_tokens_total") < 2000
