"""LiteLLM's calls of a model through llmux, told as JSON: litellm_calls.py URL MODEL."""

import asyncio
import json
import sys

import litellm

url, model = sys.argv[1:]
litellm.telemetry, litellm.suppress_debug_info = False, True
messages = [{"role": "user", "content": "What is a lens?"}]
openai = {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "none", "num_retries": 0}
claude = {"model": f"anthropic/{model}", "api_base": url, "api_key": "none", "num_retries": 0}
greedy = {"messages": messages, "temperature": 0, "max_tokens": 12}


def text(chunks) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


async def in_the_loop() -> dict[str, object]:
    whole = await litellm.acompletion(**openai, **greedy)
    stream = await litellm.acompletion(**openai, **greedy, stream=True)
    return {"whole": whole.choices[0].message.content, "streamed": text([chunk async for chunk in stream])}


def refused() -> list[object]:
    try:
        litellm.completion(**{**openai, "model": "openai/nobody"}, **greedy)
    except litellm.exceptions.NotFoundError as error:
        return [type(error).__name__, error.status_code]
    return []


whole = litellm.completion(**openai, **greedy)
vectors = litellm.embedding(**openai, input=["The lamp", "The sea"])
told = {
    "whole": whole.choices[0].message.content,
    "tokens": whole.usage.completion_tokens,
    "streamed": text(litellm.completion(**openai, **greedy, stream=True)),
    "async": asyncio.run(in_the_loop()),
    "completion": litellm.text_completion(
        **{**openai, "model": f"text-completion-openai/{model}"},
        prompt="The lamp",
        temperature=0,
        max_tokens=12,
    )
    .choices[0]
    .text,
    "embeddings": [len(each["embedding"]) for each in vectors.data],
    "message": litellm.completion(**claude, **greedy).choices[0].message.content,
    "message_streamed": text(litellm.completion(**claude, **greedy, stream=True)),
    "refused": refused(),
}
sys.stdout.write(json.dumps(told))
