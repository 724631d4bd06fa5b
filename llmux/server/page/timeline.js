// Who was awake when, drawn from the changes of state that llmux still knows and those that this page has been told of.
import { useState } from "preact/hooks";
import { html } from "./html.js";
import { seconds, STATES } from "./words.js";

const MINUTE = 60_000; // ms
const SPANS = { 2: "2 minutes", 10: "10 minutes", 60: "an hour", all: "all that is known" };
const TICKS = [1, 0.75, 0.5, 0.25, 0];
const WIDTH = 1000; // of the drawing, which is stretched to the room that there is

export function Timeline({ names, happened, now }) {
  const [chosen, setChosen] = useState("10");
  const changes = happened.filter((each) => each.kind === "state_changed").map((each) => ({ ...each, time: Date.parse(each.at) }));
  const known = Math.max(now - (changes[0]?.time ?? now), 10_000) * 1.02;
  const span = chosen === "all" ? known : Math.min(known, Number(chosen) * MINUTE);
  const rows = names.flatMap((name) => replicasOf(name, changes).map((replica) => ({ replica, spans: spans(changes.filter((each) => each.replica === replica), now - span, now) })));
  return html`<section aria-labelledby="timeline">
    <div class="line"><h2 id="timeline">Who was awake when</h2>
      <label class="inline">the last <select value=${chosen} onChange=${(event) => setChosen(event.target.value)}>
        ${Object.entries(SPANS).map(([value, words]) => html`<option key=${value} value=${value}>${words}</option>`)}</select></label></div>
    <div class="timeline" role="group" aria-label="Time line">
      ${rows.map(({ replica, spans }) => html`<${Row} key=${replica} name=${replica} spans=${spans} begin=${now - span} span=${span} />`)}
      <div class="ticks quiet">${TICKS.map((part) => html`<span key=${part}>${part ? `−${seconds((part * span) / 1000)}` : "now"}</span>`)}</div>
    </div>
    <ul class="legend quiet">${["running", "waking", "going_to_sleep", "asleep", "failed", "not_started"].map((each) => html`<li key=${each}><span class=${`swatch ${each}`}></span>${STATES[each]}</li>`)}</ul>
  </section>`;
}

function Row({ name, spans, begin, span }) {
  const x = (at) => ((at - begin) / span) * WIDTH;
  const awake = spans.filter((each) => each.state === "running").reduce((sum, each) => sum + each.to - Math.max(each.from, begin), 0);
  const said = `${name}: awake for ${seconds(awake / 1000)} of ${seconds(span / 1000)}, now ${STATES[spans.at(-1)?.state] ?? "not started"}`;
  return html`<span class="name">${name}</span>
    <svg viewBox=${`0 0 ${WIDTH} 10`} preserveAspectRatio="none" role="img" aria-label=${said}>
      ${spans.map((each) => html`<rect key=${each.from} class=${`span ${each.state}`} y="0" height="10" x=${x(Math.max(each.from, begin))} width=${Math.max(1, x(each.to) - x(Math.max(each.from, begin)))}>
        <title>${STATES[each.state]} for ${seconds((each.to - each.from) / 1000)}${each.why && `: ${each.why}`}</title></rect>`)}
    </svg>`;
}

function replicasOf(name, changes) {
  const found = new Set(changes.filter((each) => each.model === name).map((each) => each.replica));
  return found.size ? [...found].sort() : [name];
}

/** Return the states of one replica with when each began and ended; what it was before the first change began before all. */
function spans(changes, begin, now) {
  if (changes.length === 0) return [];
  const first = { state: changes[0].before, from: changes[0].time - changes[0].seconds * 1000, to: changes[0].time, why: "" };
  const rest = changes.map((each, index) => ({ state: each.after, from: each.time, to: changes[index + 1]?.time ?? now, why: each.why }));
  return [first, ...rest].filter((each) => each.to > begin);
}
