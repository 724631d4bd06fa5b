// A chat with one model, with what its request waited for.
import { useRef, useState } from "preact/hooks";
import { ask, events } from "./api.js";
import { html } from "./html.js";
import { seconds } from "./words.js";

export function Playground({ names }) {
  const [model, setModel] = useState(names[0]);
  const [prompt, setPrompt] = useState("What is a lighthouse?");
  const [messages, setMessages] = useState([]);
  const [figures, setFigures] = useState(null);
  const running = useRef(null);
  const [busy, setBusy] = useState(false);

  async function send(event) {
    event.preventDefault();
    const chat = [...messages, { role: "user", content: prompt }];
    setMessages([...chat, { role: "assistant", content: "" }]);
    setFigures(null);
    setBusy(true);
    running.current = new AbortController();
    const say = (content, error) => setMessages([...chat, { role: "assistant", content, error }]);
    let text = "";
    try {
      const began = performance.now();
      const body = { model, messages: chat.map(({ role, content }) => ({ role, content })), stream: true, max_tokens: 200 };
      const answer = await ask("/v1/chat/completions", { method: "POST", body, signal: running.current.signal });
      let first = null;
      for await (const { data } of events(answer)) {
        if (data === "[DONE]") break;
        const chunk = JSON.parse(data);
        if (chunk.error) throw Object.assign(new Error(chunk.error.message), { hint: chunk.error.hint });
        const piece = chunk.choices?.[0]?.delta?.content ?? "";
        if (piece) first ??= performance.now() - began;
        text += piece;
        say(text);
      }
      setFigures({
        queue: Number(answer.headers.get("x-llmux-queue-ms")) / 1000,
        wake: answer.headers.get("x-llmux-wake"),
        first: first === null ? null : first / 1000,
        all: (performance.now() - began) / 1000,
      });
      setPrompt("");
    } catch (error) {
      say(text, error.name === "AbortError" ? "Stopped." : `${error.message} ${error.hint ?? ""}`);
    }
    setBusy(false);
  }

  return html`<section aria-labelledby="playground">
    <h2 id="playground">Playground</h2>
    <ol class="chat" aria-live="polite">${messages.map((each, index) => html`<li key=${index} class=${each.role}>
      <span class="who">${each.role === "user" ? "You" : model}</span>
      <span class="text">${each.content}${each.error && html`<span class="problem">${each.error}</span>`}</span></li>`)}</ol>
    ${figures && html`<dl class="figures" data-figures>
      <dt>waited</dt><dd>${seconds(figures.queue)}</dd>
      <dt>wake</dt><dd>${figures.wake}</dd>
      <dt>first token</dt><dd>${seconds(figures.first)}</dd>
      <dt>whole answer</dt><dd>${seconds(figures.all)}</dd></dl>`}
    <form onSubmit=${send}>
      <label>Model <select value=${model} onChange=${(event) => setModel(event.target.value)}>
        ${names.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
      <label class="wide">Message <textarea rows="3" required value=${prompt} onInput=${(event) => setPrompt(event.target.value)}></textarea></label>
      <div class="buttons">
        <button type="submit" disabled=${busy}>Send</button>
        <button type="button" disabled=${!busy} onClick=${() => running.current.abort()}>Stop</button>
        <button type="button" disabled=${busy || messages.length === 0} onClick=${() => setMessages([])}>New chat</button>
      </div>
    </form>
  </section>`;
}
