// Who was awake when, drawn from the changes of state that llmux still knows and those that this page has been told of.
import { useState } from "preact/hooks";
import { html } from "./html.js";
import { scale, seconds, STATES } from "./words.js";

const MINUTE = 60_000; // ms
const SPANS = { 2: "2 minutes", 10: "10 minutes", 60: "an hour", all: "all that is known" };
const TICKS = [1, 0.75, 0.5, 0.25];
const WIDTH = 1000; // of the drawing, which is stretched to the room that there is
const HEIGHT = 10;

/** A shape for each state, so that colour is not all that tells them apart: corners as parts of its width, and down from the top. */
const SHAPES = {
  not_started: [[0, 9], [1, 9], [1, 10], [0, 10]],
  starting: [[0, 10], [1, 0], [1, 10]],
  running: [[0, 0], [1, 0], [1, 10], [0, 10]],
  draining: [[0, 0], [1, 0], [1, 4], [0, 4], [0, 6], [1, 6], [1, 10], [0, 10]],
  going_to_sleep: [[0, 0], [1, 6], [1, 10], [0, 10]],
  asleep: [[0, 6], [1, 6], [1, 10], [0, 10]],
  deepening: [[0, 6], [1, 9], [1, 10], [0, 10]],
  waking: [[0, 6], [1, 0], [1, 10], [0, 10]],
  failed: [[0, 0], [1, 10], [1, 0], [0, 10]],
};

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
      <div class="ticks quiet">${scale(span / 1000, TICKS).map((each) => html`<span key=${each}>−${each}</span>`)}<span>now</span></div>
    </div>
    <ul class="legend quiet">${Object.entries(STATES).map(([state, words]) => html`<li key=${state}><svg viewBox=${`0 0 24 ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true"><${Shape} state=${state} x=${0} width=${24} /></svg>${words}</li>`)}</ul>
  </section>`;
}

function Row({ name, spans, begin, span }) {
  const x = (at) => ((at - begin) / span) * WIDTH;
  const awake = spans.filter((each) => each.state === "running").reduce((sum, each) => sum + each.to - Math.max(each.from, begin), 0);
  const said = `${name}: awake for ${seconds(awake / 1000)} of ${seconds(span / 1000)}, now ${STATES[spans.at(-1)?.state] ?? "not started"}`;
  return html`<span class="name">${name}</span>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${said}>
      ${spans.map((each) => html`<${Shape} key=${each.from} state=${each.state} x=${x(Math.max(each.from, begin))} width=${Math.max(1, x(each.to) - x(Math.max(each.from, begin)))}
        title=${`${STATES[each.state]} for ${seconds((each.to - each.from) / 1000)}${each.why && `: ${each.why}`}`} />`)}
    </svg>`;
}

/** A span of time in one state; what is said of it is said all over it, however little of it the shape fills. */
function Shape({ state, x, width, title }) {
  const points = SHAPES[state].map(([part, y]) => `${x + part * width},${y}`).join(" ");
  return html`<g class=${`span ${state}`}><rect x=${x} width=${width} height=${HEIGHT} /><polygon points=${points} />${title && html`<title>${title}</title>`}</g>`;
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
