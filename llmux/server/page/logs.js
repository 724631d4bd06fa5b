// The log of llmux or of an engine, as it grows.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api.js";
import { html } from "./html.js";

const MOST = 3000; // lines that are kept
const AT_ONCE = 100; // ms in which lines are shown together
const LEVELS = ["debug", "info", "warning", "error", "critical"];
const SAID_APART = ["timestamp", "level", "message"];

export function Logs({ names, chosen }) {
  const [lines, setLines] = useState([]);
  const [wrong, setWrong] = useState(null);
  const [words, setWords] = useState("");
  const [level, setLevel] = useState("debug");
  const [follows, setFollows] = useState(true);
  const box = useRef(null);
  const whose = names.includes(chosen) ? chosen : "";
  useEffect(() => {
    const controller = new AbortController();
    setLines([]);
    setWrong(null);
    read(whose, controller.signal, (more) => setLines((before) => [...before, ...more].slice(-MOST))).catch((error) => {
      if (!controller.signal.aborted) setWrong(error);
    });
    return () => controller.abort();
  }, [whose]);
  useEffect(() => {
    if (follows) box.current?.scrollTo(0, box.current.scrollHeight);
  }, [lines, follows, words, level]);
  const shown = lines.filter((each) => LEVELS.indexOf(each.level) >= LEVELS.indexOf(level) && each.raw.toLowerCase().includes(words.toLowerCase()));
  return html`<section aria-labelledby="logs">
    <h2 id="logs">Logs</h2>
    <form onSubmit=${(event) => event.preventDefault()}>
      <label>Of <select value=${whose} onChange=${(event) => (location.hash = `logs/${encodeURIComponent(event.target.value)}`)}>
        <option value="">llmux</option>${names.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
      <label>From level <select value=${level} onChange=${(event) => setLevel(event.target.value)}>
        ${LEVELS.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
      <label class="grows">With these words <input type="search" value=${words} onInput=${(event) => setWords(event.target.value)} /></label>
      <label class="inline"><input type="checkbox" checked=${follows} onChange=${(event) => setFollows(event.target.checked)} /> Keep to the end</label>
    </form>
    ${wrong && html`<p class="problem" role="alert">${wrong.message} ${wrong.hint}</p>`}
    <div class="log" ref=${box} tabindex="0" role="log" aria-live="off" aria-label=${`Log of ${whose || "llmux"}`}>${shown.map((each) => html`<div key=${each.number} class=${each.level}>${
      each.at && html`<time>${each.at}</time> `}${each.text}${each.rest && html` <span class="quiet">${each.rest}</span>`}</div>`)}</div>
    <p class="quiet">${lines.length === 0 ? "Nothing yet." : `${shown.length} of ${lines.length} lines`}</p>
  </section>`;
}

async function read(whose, signal, say) {
  const path = whose ? `/control/logs/${encodeURIComponent(whose)}` : "/control/logs";
  const answer = await ask(`${path}?lines=500&follow=true`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let count = 0;
  let waiting = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    if (waiting.length === 0) {
      setTimeout(() => {
        say(waiting);
        waiting = [];
      }, AT_ONCE);
    }
    waiting.push(...parts.map((raw) => ({ number: (count += 1), raw, ...taken(raw) })));
  }
}

/** A line as JSON is taken apart; any other is shown as it is, by the level that it names. */
function taken(raw) {
  try {
    const told = JSON.parse(raw);
    const rest = Object.entries(told).filter(([name]) => !SAID_APART.includes(name)).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
    return { at: new Date(told.timestamp).toLocaleTimeString([], { hour12: false }), level: LEVELS.includes(told.level) ? told.level : "info", text: `${told.level.padEnd(7)} ${told.message}`, rest: rest.join(" ") };
  } catch {
    const named = LEVELS.find((each) => new RegExp(`\\b${each}\\b`, "i").test(raw.slice(0, 60)));
    return { at: "", level: named ?? "info", text: raw, rest: "" };
  }
}
