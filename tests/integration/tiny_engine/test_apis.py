"""The further APIs of a running engine: tokens, vectors, responses, Anthropic's messages, realtime."""

import asyncio
import base64
import json
import struct

import aiohttp
import pytest

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
HI = [{"role": "user", "content": "What is a lens?"}]


def events(text: str) -> list[dict]:
    found = []
    for event in text.split("\n\n")[:-1]:
        name, data = event.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def test_a_text_becomes_tokens_and_a_text_again(engine):
    told = engine.post("/tokenize", {"prompt": "The lamp é"}).json
    assert told["count"] == len(told["tokens"]) > 0
    assert engine.post("/detokenize", {"tokens": told["tokens"]}).json == {"prompt": "The lamp é"}
    chat = engine.post("/tokenize", {"messages": HI}).json
    assert chat["count"] == engine.chat(max_tokens=1).json["usage"]["prompt_tokens"]
    assert engine.post("/detokenize", {"tokens": "x", "model": "no"}).status == 404
    assert engine.post("/tokenize", {"prompt": 3}).json["error"]["param"] == "prompt"


def test_a_text_becomes_a_vector_in_either_way_of_writing(engine):
    answer = engine.post("/v1/embeddings", {"input": ["The lamp", "The sea"]}).json
    first, second = (each["embedding"] for each in answer["data"])
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-3)
    assert first != second
    packed = engine.post("/v1/embeddings", {"input": "The lamp", "encoding_format": "base64"}).json
    data = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack(f"<{len(first)}f", data) == pytest.approx(first)
    tokens = engine.post("/tokenize", {"prompt": "The sea"}).json["tokens"]
    assert engine.post("/v1/embeddings", {"input": tokens}).json["data"][0]["embedding"] == second


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{}]}, "input"),
        ({"input": "x", "encoding_format": ["float"]}, "encoding_format"),
        ({"input": "x", "dimensions": 3}, "dimensions"),
        ({"input": "word " * 9000}, "input"),
    ],
)
def test_a_wrong_field_of_embeddings_is_named(engine, body, param):
    answer = engine.post("/v1/embeddings", body)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


def test_a_message_has_the_same_text_as_a_chat_and_says_why_it_stopped(engine):
    asked = {"messages": HI, "max_tokens": 20, "temperature": 0}
    answer = engine.post(MESSAGES, asked).json
    assert answer["content"] == [{"type": "text", "text": engine.answer()}]
    assert (
        answer["usage"]["input_tokens"] == engine.post(f"{MESSAGES}/count_tokens", asked).json["input_tokens"]
    )
    text = answer["content"][0]["text"]
    stopped = engine.post(MESSAGES, {**asked, "stop_sequences": ["\n\n", text[3:6]]}).json
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", text[3:6])
    assert engine.post(MESSAGES, {**asked, "max_tokens": 1}).json["stop_reason"] in {"max_tokens", "end_turn"}
    with_system = engine.post(f"{MESSAGES}/count_tokens", {**asked, "system": "Be brief"}).json[
        "input_tokens"
    ]
    assert with_system > answer["usage"]["input_tokens"]


def test_a_messages_stream_has_all_its_events_in_order(engine):
    asked = {"messages": HI, "max_tokens": 20, "temperature": 0, "stream": True}
    start, block, *deltas, stop, delta, last = events(engine.post(MESSAGES, asked).text)
    kinds = [each["type"] for each in (start, block, stop, delta, last)]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert "".join(each["delta"]["text"] for each in deltas) == engine.answer()
    assert start["message"]["content"] == []
    assert delta["usage"]["output_tokens"] > 0


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        ({"messages": HI}, 400, "invalid_request_error", "max_tokens"),
        ({"messages": [], "max_tokens": 3}, 400, "invalid_request_error", "messages"),
        ({"messages": HI, "max_tokens": 3, "model": "no"}, 404, "not_found_error", "does not exist"),
        ({"messages": HI, "max_tokens": 3, "tools": [{}]}, 400, "invalid_request_error", "tools"),
    ],
)
def test_messages_errors_are_in_anthropics_form(engine, body, status, kind, words):
    answer = engine.post(MESSAGES, body)
    assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (status, "error", kind)
    assert words in answer.json["error"]["message"]


def test_a_response_goes_on_with_the_one_before_until_that_is_deleted(engine):
    asked = {"temperature": 0, "max_output_tokens": 12}
    first = engine.post(RESPONSES, {**asked, "input": "What is a lens?"}).json
    assert first["output"][0]["content"][0]["text"] == engine.answer(max_tokens=12)
    again = {**asked, "input": [{"role": "user", "content": [{"type": "input_text", "text": "And a lamp?"}]}]}
    second = engine.post(RESPONSES, {**again, "previous_response_id": first["id"]}).json
    said = first["output"][0]["content"][0]["text"]
    turns = [*HI, {"role": "assistant", "content": said}, {"role": "user", "content": "And a lamp?"}]
    chat = engine.post("/v1/chat/completions", {"messages": turns, "temperature": 0, "max_tokens": 12}).json
    assert second["output"][0]["content"][0]["text"] == chat["choices"][0]["message"]["content"]
    assert engine.get(f"{RESPONSES}/{first['id']}").json == first
    with engine.open("DELETE", f"{RESPONSES}/{first['id']}") as answer:
        assert json.load(answer)["deleted"] is True
    assert engine.get(f"{RESPONSES}/{first['id']}").status == 404
    gone = engine.post(RESPONSES, {**again, "previous_response_id": first["id"]})
    assert (gone.status, gone.json["error"]["param"]) == (404, "previous_response_id")
    assert "not found" in gone.json["error"]["message"]
    unkept = engine.post(RESPONSES, {**asked, "input": "Hi", "store": False}).json["id"]
    assert engine.get(f"{RESPONSES}/{unkept}").status == 404


def test_a_responses_stream_has_all_its_events_in_order(engine):
    asked = {"input": "What is a lens?", "temperature": 0, "max_output_tokens": 12, "stream": True}
    told = events(engine.post(RESPONSES, asked).text)
    assert [each["sequence_number"] for each in told] == list(range(len(told)))
    assert [each["type"] for each in told[:4]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    text = "".join(each["delta"] for each in told if each["type"] == "response.output_text.delta")
    assert text == engine.answer(max_tokens=12)
    assert told[-1]["type"] == f"response.{told[-1]['response']['status']}"
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == text
    assert engine.get(f"{RESPONSES}/{told[-1]['response']['id']}").json == told[-1]["response"]


def test_a_response_in_the_background_is_cancelled(start):
    with start("--token-delay", "0.05") as engine:
        asked = {"input": "Hi", "background": True}
        response = engine.post(RESPONSES, asked).json
        assert response["status"] == "in_progress"
        engine.until(lambda: engine.metric("vllm:num_requests_running") == 1, "it runs")
        assert engine.post(f"{RESPONSES}/{response['id']}/cancel").json["status"] == "cancelled"
        engine.until(lambda: engine.metric("vllm:num_requests_running") == 0, "it has stopped")
        short = engine.post(RESPONSES, {**asked, "max_output_tokens": 1}).json["id"]
        ended = {"completed", "incomplete"}
        engine.until(lambda: engine.get(f"{RESPONSES}/{short}").json["status"] in ended, "it has ended")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "function_call"}]}, "input[0]"),
        ({"input": "x", "instructions": 3}, "instructions"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "tools": [{}]}, "tools"),
    ],
)
def test_a_wrong_field_of_a_response_is_named(engine, body, param):
    answer = engine.post(RESPONSES, body)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


async def test_a_realtime_conversation(engine):
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{engine.port}/v1/realtime?model=tiny") as socket,
    ):
        assert (await socket.receive_json())["session"]["model"] == "tiny"
        await socket.send_json({"type": "session.update", "session": {"instructions": "Be brief"}})
        assert (await socket.receive_json())["session"]["instructions"] == "Be brief"
        content = [{"type": "input_text", "text": "What is a lens?"}]
        await socket.send_json(
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": content},
            }
        )
        assert (await socket.receive_json())["item"]["content"] == content
        await socket.send_json(
            {"type": "response.create", "response": {"temperature": 0, "max_output_tokens": 9}}
        )
        told = [await socket.receive_json()]
        async with asyncio.timeout(30):
            while told[-1]["type"] != "response.done":
                told.append(await socket.receive_json())
        text = "".join(each["delta"] for each in told if each["type"] == "response.output_text.delta")
        assert told[-1]["response"]["output"][0]["content"][0]["text"] == text != ""
        await socket.send_json({"type": "input_audio_buffer.append"})
        assert (await socket.receive_json())["error"]["param"] == "type"
        await socket.send_bytes(b"\x00")
        assert (await socket.receive()).data == 1003
