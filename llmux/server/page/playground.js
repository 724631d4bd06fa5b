// A chat with one model, with what each of its requests waited for.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, events, get, Refused } from "./api.js";
import { Button } from "./button.js";
import { html } from "./html.js";
import { number, seconds, STATES } from "./words.js";

const TICK = 100; // ms between two looks at how long it has been

export function Playground({ status, chosen }) {
  const [cards, setCards] = useState([]);
  const [prompt, setPrompt] = useState("");
  const [options, setOptions] = useState({ system: "", temperature: "", max_tokens: "512" });
  const [messages, setMessages] = useState([]);
  const [begun, setBegun] = useState(null);
  const [problem, setProblem] = useState(null);
  const running = useRef(null);
  const end = useRef(null);
  useEffect(() => void get("/v1/models").then(({ data }) => setCards(data), setProblem), [begun === null]);
  useEffect(() => () => running.current?.abort(), []);
  useEffect(() => end.current?.scrollTo(0, end.current.scrollHeight), [messages]);
  const names = cards.map((each) => each.id);
  const [last, setLast] = useState("");
  useEffect(() => void (chosen && setLast(chosen)), [chosen]);
  const model = [chosen, last].find((each) => names.includes(each)) ?? names[0] ?? "";
  const state = stateOf(status, cards.find((each) => each.id === model));

  async function send(event) {
    event.preventDefault();
    if (begun !== null || !prompt.trim()) return;
    const chat = [...messages, { role: "user", content: prompt }];
    const answer = { role: "assistant", model, content: "", thought: "", figures: null, problem: null };
    const say = (more) => setMessages([...chat, Object.assign(answer, more)]);
    say({});
    setPrompt("");
    setBegun(performance.now());
    const own = (running.current = new AbortController());
    try {
      for await (const more of answered(bodyOf(model, chat, options), own.signal)) {
        say({ ...more, content: answer.content + (more.content ?? ""), thought: answer.thought + (more.thought ?? "") });
      }
    } catch (error) {
      own.abort(); // llmux, having said why an answer breaks off, waits for the connection's end
      say({ problem: error.name === "AbortError" ? "Stopped." : `${error.message} ${error.hint ?? ""}` });
    }
    setBegun(null);
  }

  const answering = begun !== null && "An answer is under way";
  return html`<section aria-labelledby="playground" class="playground">
    <div class="line"><h2 id="playground">Playground</h2>
      <label class="inline">Model <select value=${model} onChange=${(event) => (location.hash = `playground/${encodeURIComponent(event.target.value)}`)}>
        ${names.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
      ${state && html`<span class=${`state ${state}`}>${STATES[state]}</span>`}
      <${Button} class="small" does="Forgets what was said" not=${answering || (messages.length === 0 && "Nothing was said yet")} onClick=${() => setMessages([])}>New chat<//>
    </div>
    ${problem && html`<p class="problem" role="alert">${problem.message} ${problem.hint}</p>`}
    <ol class="chat" ref=${end} tabindex="0" aria-label="Chat">
      ${messages.length === 0 && html`<li class="quiet empty">Ask ${model || "a model"} something. A model that sleeps is woken for it.</li>`}
      ${messages.map((each, index) => html`<${Message} key=${index} told=${each} />`)}
      ${begun !== null && html`<${Waiting} begun=${begun} state=${state} answer=${messages.at(-1)} />`}</ol>
    <form onSubmit=${send}>
      <label class="wide">Message <textarea rows="3" placeholder="Enter sends, Shift+Enter begins a line" value=${prompt}
        onInput=${(event) => setPrompt(event.target.value)} onKeyDown=${(event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && send(event)}></textarea></label>
      <div class="buttons">
        <${Button} type="submit" class="first" does=${!state || state === "running" ? `Asks ${model}` : `Asks ${model}, which is ${STATES[state]}: the answer waits for it`} not=${answering || (!model && "There is no model to ask")}>Send<//>
        <${Button} does="Breaks the answer off" not=${!answering && "Nothing is being answered"} onClick=${() => running.current.abort()}>Stop<//>
      </div>
      <${Options} options=${options} setOptions=${setOptions} />
    </form>
  </section>`;
}

function Options({ options, setOptions }) {
  const set = (name) => (event) => setOptions({ ...options, [name]: event.target.value });
  return html`<details class="wide"><summary>How it is to answer</summary><div class="options">
    <label class="wide">System prompt <textarea rows="2" value=${options.system} onInput=${set("system")}></textarea></label>
    <label>Temperature <input type="number" min="0" max="2" step="0.1" placeholder="the model's" value=${options.temperature} onInput=${set("temperature")} /></label>
    <label>Tokens at most <input type="number" min="1" value=${options.max_tokens} onInput=${set("max_tokens")} /></label></div></details>`;
}

function Message({ told }) {
  return html`<li class=${told.role}>
    <span class="who">${told.role === "user" ? "You" : told.model}</span>
    ${told.thought && html`<details><summary class="quiet">What it thought</summary><span class="text">${told.thought}</span></details>`}
    <span class="text">${told.content}</span>${told.problem && html` <span class="problem" role="alert">${told.problem}</span>`}
    ${told.figures && html`<dl class="figures" data-figures>
      <div><dt>waited</dt><dd>${seconds(told.figures.queue)}</dd></div>
      <div><dt>wake</dt><dd>${told.figures.wake}</dd></div>
      <div><dt>first token</dt><dd>${seconds(told.figures.first)}</dd></div>
      <div><dt>in all</dt><dd>${seconds(told.figures.all)}</dd></div>
      ${told.figures.tokens > 1 && html`<div><dt>tokens</dt><dd>${number(told.figures.tokens)}, ${told.figures.rate.toFixed(1)} a second</dd></div>`}</dl>`}</li>`;
}

/** How long it has been, and what for: until the first token that is the queue or a wake. */
function Waiting({ begun, state, answer }) {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), TICK);
    return () => clearInterval(timer);
  }, []);
  const writes = answer?.content || answer?.thought;
  if (writes) return null;
  return html`<li class="quiet" data-waiting><progress aria-label="Waiting"></progress> ${seconds((now - begun) / 1000)}${state && state !== "running" ? `: the model is ${STATES[state]}` : ""}</li>`;
}

function bodyOf(model, chat, { system, temperature, max_tokens: most }) {
  const said = chat.filter((each) => each.content).map(({ role, content }) => ({ role, content }));
  const messages = system.trim() ? [{ role: "system", content: system }, ...said] : said;
  const body = { model, messages, stream: true, stream_options: { include_usage: true } };
  if (temperature !== "") body.temperature = Number(temperature);
  if (most !== "") body.max_tokens = Number(most);
  return body;
}

/** Yield an answer piece by piece, and in the end its figures. */
async function* answered(body, signal) {
  const began = performance.now();
  const passed = () => (performance.now() - began) / 1000;
  const answer = await ask("/v1/chat/completions", { method: "POST", body, signal });
  let first = null;
  let tokens = 0;
  for await (const { data } of events(answer)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(answer.status, chunk.error);
    const delta = chunk.choices?.[0]?.delta ?? {};
    const more = { content: delta.content ?? "", thought: delta.reasoning_content ?? delta.reasoning ?? "" };
    if (more.content || more.thought) first ??= passed();
    tokens = chunk.usage?.completion_tokens ?? tokens;
    yield more;
  }
  const all = passed();
  const queue = Number(answer.headers.get("x-llmux-queue-ms")) / 1000;
  yield { figures: { queue, wake: answer.headers.get("x-llmux-wake"), first, all, tokens, rate: tokens / Math.max(all - (first ?? 0), 0.001) } };
}

/** The model's state: as it is now where somebody may see that, else as the list of models had it. */
function stateOf(status, card) {
  if (!card) return null;
  const now = status?.models[card.parent ?? card.root] ?? status?.models[card.id];
  return now?.state ?? card.state;
}
