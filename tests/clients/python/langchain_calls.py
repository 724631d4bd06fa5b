"""LangChain's calls of a model through llmux, told as JSON: langchain_calls.py BASE_URL MODEL."""

import asyncio
import json
import sys

from langchain_openai import ChatOpenAI, OpenAIEmbeddings

base_url, model = sys.argv[1:]
given = {"base_url": base_url, "api_key": "none", "model": model, "max_retries": 0}
chat = ChatOpenAI(**given, temperature=0, max_tokens=12)
# Token ids are a matter of OpenAI's own tokenizer, which an engine does not have.
embeddings = OpenAIEmbeddings(**given, check_embedding_ctx_length=False)
asked = [("system", "Be brief"), ("human", "What is a lens?")]


async def in_the_loop() -> dict[str, object]:
    whole, pieces = await chat.ainvoke(asked), [piece.text async for piece in chat.astream(asked)]
    return {"whole": whole.text, "streamed": "".join(pieces)}


whole = chat.invoke(asked)
told = {
    "whole": whole.text,
    "tokens": whole.usage_metadata["output_tokens"],
    "model": whole.response_metadata["model_name"],
    "streamed": "".join(piece.text for piece in chat.stream(asked)),
    "batch": [each.text for each in chat.batch([asked, asked])],
    "async": asyncio.run(in_the_loop()),
    "documents": [len(each) for each in embeddings.embed_documents(["The lamp", "The sea"])],
    "query": len(embeddings.embed_query("The lamp")),
}
sys.stdout.write(json.dumps(told))
