// Calls every method of OpenAI's Node client that the tiny engine has, and prints what came back as one object of JSON.
// node methods.mjs BASE_URL MODEL ALIAS OTHER

import OpenAI, { APIConnectionTimeoutError, APIUserAbortError, NotFoundError, BadRequestError, InternalServerError, toFile } from 'openai';

const [baseURL, MODEL, ALIAS, OTHER] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
const messages = [{ role: 'user', content: 'What is a lens?' }];
const greedy = { temperature: 0, max_tokens: 12 };
const long = { max_tokens: 4000, ignore_eos: true };

async function collected(stream, piece) {
  const pieces = [];
  for await (const event of stream) pieces.push(piece(event));
  return pieces;
}

/** What an awaited call throws: its class's name, and what it says of itself. */
async function thrown(kind, call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof kind)) throw error;
    return { kind: kind.name, status: error.status, code: error.code, param: error.param, message: error.message };
  }
  throw new Error(`nothing was thrown where ${kind.name} should be`);
}

const calls = {
  async chat() {
    const answer = await client.chat.completions.create({ model: MODEL, messages, ...greedy });
    return { model: answer.model, text: answer.choices[0].message.content, usage: answer.usage };
  },
  async chatStream() {
    const stream = await client.chat.completions.create({
      model: MODEL, messages, ...greedy, stream: true, stream_options: { include_usage: true },
    });
    const chunks = await collected(stream, (chunk) => chunk);
    const last = chunks.at(-1);
    return { text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''), usage: last.usage };
  },
  async chatHelper() {
    const runner = client.chat.completions.stream({ model: ALIAS, messages, ...greedy });
    let told = '';
    runner.on('content', (delta) => { told += delta; });
    const final = await runner.finalChatCompletion();
    return { told, text: final.choices[0].message.content, model: final.model };
  },
  async chatChoices() {
    const answer = await client.chat.completions.create({
      model: MODEL, messages, max_tokens: 8, n: 2, temperature: 1.5, seed: 1, logprobs: true, top_logprobs: 2,
    });
    return answer.choices.map((choice) => ({ index: choice.index, top: choice.logprobs.content[0].top_logprobs.length }));
  },
  async completion() {
    const answer = await client.completions.create({ model: MODEL, prompt: 'The lamp', ...greedy });
    return answer.choices[0].text;
  },
  async completionStream() {
    const stream = await client.completions.create({ model: MODEL, prompt: 'The lamp', ...greedy, stream: true });
    return (await collected(stream, (piece) => piece.choices[0].text)).join('');
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: MODEL, input: ['The lamp', 'The sea'] });
    const lists = await client.embeddings.create({ model: MODEL, input: 'The lamp', encoding_format: 'float' });
    return { sizes: answer.data.map((each) => each.embedding.length), same: answer.data[0].embedding.every((value, at) => Math.abs(value - lists.data[0].embedding[at]) < 1e-6) };
  },
  async responses() {
    const asked = { model: MODEL, temperature: 0, max_output_tokens: 12 };
    const first = await client.responses.create({ ...asked, input: 'What is a lens?' });
    const shown = await client.responses.retrieve(first.id);
    const second = await client.responses.create({ ...asked, input: 'And a lamp?', previous_response_id: first.id });
    const crossed = await thrown(BadRequestError, () => client.responses.create({ ...asked, model: OTHER, input: 'And?', previous_response_id: first.id }));
    const slow = await client.responses.create({ model: MODEL, input: 'Hi', background: true, ignore_eos: true });
    const cancelled = await client.responses.cancel(slow.id);
    await client.responses.delete(first.id);
    const gone = await thrown(NotFoundError, () => client.responses.retrieve(first.id));
    return {
      text: first.output_text, shown: shown.output_text, crossed, gone, cancelled: cancelled.status,
      tokens: [first.usage.input_tokens, second.usage.input_tokens],
    };
  },
  async responseStream() {
    const stream = client.responses.stream({ model: ALIAS, input: 'What is a lens?', temperature: 0, max_output_tokens: 12 });
    const deltas = [];
    for await (const event of stream) if (event.type === 'response.output_text.delta') deltas.push(event.delta);
    const final = await stream.finalResponse();
    return { deltas: deltas.join(''), text: final.output_text, model: final.model };
  },
  async models() {
    const ids = await collected(await client.models.list(), (model) => model.id);
    const one = await client.models.retrieve(ALIAS);
    const nobody = await thrown(NotFoundError, () => client.models.retrieve('org/nobody'));
    return { ids, one: one.id, nobody };
  },
  async capped() {
    return (await client.chat.completions.create({ model: OTHER, messages, ...long })).usage.completion_tokens;
  },
  async lacking() {
    const patient = client.withOptions({ maxRetries: 2 });
    const speech = await thrown(InternalServerError, () => patient.audio.speech.create({ model: MODEL, voice: 'alloy', input: 'Hi' }));
    const file = await toFile(new Uint8Array([0]), 'a.wav');
    const heard = await thrown(InternalServerError, () => client.audio.transcriptions.create({ model: MODEL, file }));
    return { speech, heard };
  },
  async unknown() {
    return thrown(NotFoundError, () => client.chat.completions.create({ model: 'nobody', messages }));
  },
  async raw() {
    const { data, response } = await client.chat.completions.create({ model: MODEL, messages, ...greedy }).withResponse();
    return { status: response.status, wake: response.headers.get('x-llmux-wake'), id: response.headers.get('x-request-id'), same: data._request_id };
  },
  async together() {
    const all = await Promise.all(Array.from({ length: 4 }, () => client.chat.completions.create({ model: MODEL, messages, ...greedy })));
    return new Set(all.map((answer) => answer.choices[0].message.content)).size;
  },
  async abortedStream() {
    const stream = await client.chat.completions.create({ model: MODEL, messages, ...long, stream: true });
    let seen = 0;
    for await (const _chunk of stream) if (++seen === 3) stream.controller.abort();
    return seen;
  },
  async abortedCall() {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    const { kind } = await thrown(APIUserAbortError, () => client.chat.completions.create({ model: MODEL, messages, ...long }, { signal: controller.signal }));
    return kind;
  },
  async timedOut() {
    const { kind } = await thrown(APIConnectionTimeoutError, () => client.chat.completions.create({ model: MODEL, messages, ...long }, { timeout: 300 }));
    return kind;
  },
};

const told = {};
for (const [name, call] of Object.entries(calls)) told[name] = await call();
process.stdout.write(JSON.stringify(told));
