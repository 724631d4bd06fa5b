"""OpenAI's and Anthropic's own Python clients against a real llmux before real tiny engines: whole, streamed, async, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import anthropic
import openai
import pytest

from clients.served import ALIAS, NAME, OTHER

pytestmark = pytest.mark.root

HI = [{"role": "user", "content": "What is a lens?"}]
GREEDY = {"temperature": 0, "max_tokens": 12}
SAME = {"max_tokens": 12, "extra_body": {"temperature": 0}}
LONG = {"max_tokens": 4000, "extra_body": {"ignore_eos": True}}


@pytest.fixture
def gpt(llmux) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{llmux.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(llmux) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=llmux.url, api_key="none", max_retries=0) as client:
        yield client


# ---- OpenAI's ----


def test_chats_and_completions(gpt):
    answer = gpt.chat.completions.create(model=NAME, messages=HI, **GREEDY)
    assert (answer.model, answer.choices[0].message.role) == (NAME, "assistant")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    options = {"include_usage": True}
    *chunks, last = gpt.chat.completions.create(
        model=NAME, messages=HI, stream=True, stream_options=options, **GREEDY
    )
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer.choices[0].message.content
    )
    assert last.usage == answer.usage
    text = gpt.completions.create(model=NAME, prompt="The lamp", **GREEDY)
    pieces = gpt.completions.create(model=NAME, prompt="The lamp", stream=True, **GREEDY)
    assert "".join(piece.choices[0].text for piece in pieces) == text.choices[0].text


def test_several_choices_log_probabilities_and_stops(gpt):
    asked = {"model": NAME, "messages": HI, "max_tokens": 8}
    several = gpt.chat.completions.create(
        **asked, n=2, temperature=1.5, seed=1, logprobs=True, top_logprobs=2
    )
    assert [choice.index for choice in several.choices] == [0, 1]
    token = several.choices[0].logprobs.content[0]
    assert token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob
    whole = gpt.chat.completions.create(**asked, temperature=0).choices[0].message.content
    stopped = gpt.chat.completions.create(**asked, temperature=0, stop=[whole[3:5]]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (whole[: whole.index(whole[3:5])], "stop")


def test_the_clients_own_helper_of_a_stream(gpt):
    with gpt.chat.completions.stream(model=NAME, messages=HI, stop=["e"], temperature=0) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content


def test_responses_are_made_shown_gone_on_with_cancelled_and_deleted(gpt):
    asked = {"temperature": 0, "max_output_tokens": 12}
    first = gpt.responses.create(model=NAME, input="What is a lens?", **asked)
    assert first.output_text
    assert gpt.responses.retrieve(first.id).output_text == first.output_text
    second = gpt.responses.create(model=NAME, input="And a lamp?", previous_response_id=first.id, **asked)
    assert second.usage.input_tokens > first.usage.input_tokens
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.responses.create(model=OTHER, input="And?", previous_response_id=first.id)
    assert caught.value.param == "previous_response_id"
    slow = gpt.responses.create(model=NAME, input="Hi", background=True, extra_body={"ignore_eos": True})
    assert gpt.responses.cancel(slow.id).status == "cancelled"
    gpt.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        gpt.responses.retrieve(first.id)


def test_a_response_of_another_model_than_the_default_is_found_by_its_id(gpt):
    made = gpt.responses.create(model=OTHER, input="Hi")
    assert gpt.responses.retrieve(made.id).model == OTHER


def test_a_streamed_response(gpt):
    asked = {"model": ALIAS, "input": "What is a lens?", "temperature": 0, "extra_body": {"stop": ["e"]}}
    with gpt.responses.stream(**asked) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text != ""
    assert final.model == ALIAS
    assert gpt.responses.retrieve(final.id).model == ALIAS


def test_embeddings(gpt):
    answer = gpt.embeddings.create(model=NAME, input=["The lamp", "The sea"])
    assert len(answer.data) == 2
    assert answer.data[0].embedding != answer.data[1].embedding


def test_models_are_listed_and_shown_by_any_of_their_names(gpt):
    assert [model.id for model in gpt.models.list()] == [NAME, ALIAS, OTHER]
    assert gpt.models.retrieve(ALIAS).id == ALIAS
    assert gpt.models.retrieve(NAME).state
    with pytest.raises(openai.NotFoundError):
        gpt.models.retrieve("org/nobody")


def test_an_alias_is_what_answers_say_and_a_cap_holds(gpt):
    assert gpt.chat.completions.create(model=ALIAS, messages=HI, **GREEDY).model == ALIAS
    assert {
        chunk.model for chunk in gpt.chat.completions.create(model=ALIAS, messages=HI, stream=True, **GREEDY)
    } == {ALIAS}
    capped = gpt.chat.completions.create(model=OTHER, messages=HI, **LONG)
    assert capped.usage.completion_tokens == 5


def test_what_the_engine_lacks_is_said_once(gpt):
    with pytest.raises(
        openai.InternalServerError, match="tiny, does not have POST /v1/audio/speech"
    ) as caught:
        gpt.with_options(max_retries=2).audio.speech.create(model=NAME, voice="alloy", input="Hi")
    assert (caught.value.status_code, caught.value.code) == (501, "not_implemented")
    with pytest.raises(openai.InternalServerError):
        gpt.audio.transcriptions.create(model=NAME, file=("a.wav", b"\x00"))
    with pytest.raises(openai.InternalServerError):
        gpt.files.list()
    with pytest.raises(openai.InternalServerError):
        gpt.images.generate(model=NAME, prompt="A lamp")


def test_a_stream_that_is_closed_stops_in_the_engine(gpt, llmux):
    stream = gpt.chat.completions.create(model=NAME, messages=HI, stream=True, **LONG)
    next(stream)
    assert llmux.running() == 1
    stream.close()
    llmux.until_idle()


async def test_the_async_client_and_a_cancelled_task(llmux):
    async with openai.AsyncOpenAI(base_url=f"{llmux.url}/v1", api_key="none", max_retries=0) as client:
        chat = client.chat.completions.create
        several = await asyncio.gather(*(chat(model=NAME, messages=HI, **GREEDY) for _ in range(4)))
        assert len({each.choices[0].message.content for each in several}) == 1
        stream = await chat(model=NAME, messages=HI, stream=True, **GREEDY)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == several[0].choices[0].message.content
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat(model=NAME, messages=HI, **LONG), 1)
    await asyncio.to_thread(llmux.until_idle)


# ---- Anthropic's ----


def test_messages_and_their_tokens(claude):
    answer = claude.messages.create(model=ALIAS, messages=HI, system="Be brief", **SAME)
    assert (answer.model, answer.content[0].type) == (ALIAS, "text")
    counted = claude.messages.count_tokens(model=NAME, messages=HI, system="Be brief")
    assert counted.input_tokens == answer.usage.input_tokens
    with claude.messages.stream(model=ALIAS, messages=HI, system="Be brief", **SAME) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text == answer.content[0].text
    assert (final.model, final.usage.output_tokens) == (ALIAS, answer.usage.output_tokens)
    assert final.stop_reason == answer.stop_reason
    kinds = [event.type for event in claude.messages.create(model=NAME, messages=HI, stream=True, **SAME)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


def test_errors_of_the_engine_and_of_llmux_are_anthropics(claude):
    with pytest.raises(anthropic.NotFoundError, match="does not exist") as caught:
        claude.messages.create(model="nobody", messages=HI, **SAME)
    assert caught.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(model=NAME, messages=[], **SAME)
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.InternalServerError, match="does not have POST /v1/messages/batches"):
        claude.messages.batches.create(requests=[])


def test_a_message_stream_that_is_closed_stops_in_the_engine(claude, llmux):
    with claude.messages.stream(model=NAME, messages=HI, **LONG) as stream:
        next(iter(stream))
    llmux.until_idle()


async def test_the_async_client_of_anthropics(llmux):
    async with anthropic.AsyncAnthropic(base_url=llmux.url, api_key="none", max_retries=0) as client:
        answer = await client.messages.create(model=NAME, messages=HI, **SAME)
        async with client.messages.stream(model=NAME, messages=HI, **SAME) as stream:
            assert "".join([text async for text in stream.text_stream]) == answer.content[0].text


# ---- others ----


async def test_vllms_own_paths_and_a_realtime_conversation(llmux):
    async with aiohttp.ClientSession(llmux.url) as session:
        async with session.post("/tokenize", json={"model": ALIAS, "prompt": "The lamp"}) as response:
            tokens = (await response.json())["tokens"]
        async with session.post("/detokenize", json={"tokens": tokens}) as response:
            assert await response.json() == {"prompt": "The lamp"}
        async with session.post("/rerank", json={"query": "a", "documents": ["b"]}) as response:
            assert response.status == 501
        async with session.ws_connect(f"/v1/realtime?model={ALIAS}") as conversation:
            assert (await conversation.receive_json())["type"] == "session.created"
            item = {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
            await conversation.send_json({"type": "conversation.item.create", "item": item})
            await conversation.send_json({"type": "response.create", "response": {"max_output_tokens": 4}})
            async with asyncio.timeout(30):
                while (await conversation.receive_json())["type"] != "response.done":
                    pass
