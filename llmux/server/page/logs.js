// The log of llmux or of an engine, as it grows.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api.js";
import { html } from "./html.js";

const MOST = 200_000; // characters that are kept

export function Logs({ names }) {
  const [whose, setWhose] = useState("");
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState(null);
  const end = useRef(null);
  useEffect(() => {
    const controller = new AbortController();
    setText("");
    setWrong(null);
    read(whose, controller.signal, (more) => setText((before) => (before + more).slice(-MOST))).catch((error) => {
      if (!controller.signal.aborted) setWrong(error);
    });
    return () => controller.abort();
  }, [whose]);
  useEffect(() => end.current?.scrollTo(0, end.current.scrollHeight), [text]);
  return html`<section aria-labelledby="logs">
    <h2 id="logs">Logs</h2>
    <form><label>Of <select value=${whose} onChange=${(event) => setWhose(event.target.value)}>
      <option value="">llmux</option>${names.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label></form>
    ${wrong && html`<p class="problem" role="alert">${wrong.message} ${wrong.hint}</p>`}
    <pre ref=${end} tabindex="0" role="log" aria-label=${`Log of ${whose || "llmux"}`}>${text}</pre>
  </section>`;
}

async function read(whose, signal, say) {
  const path = whose ? `/control/logs/${encodeURIComponent(whose)}` : "/control/logs";
  const answer = await ask(`${path}?lines=200&follow=true`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    say(value);
  }
}
