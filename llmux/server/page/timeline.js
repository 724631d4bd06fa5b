// Who was awake when, and why that changed: drawn from the changes of state that this page has seen or was told of.
import { html } from "./html.js";
import { seconds, STATES } from "./words.js";

const LONGEST = 600_000; // ms that are shown, if so much is known
const SHORTEST = 60_000;
const TICKS = [1, 0.75, 0.5, 0.25, 0];
const ROW = 26;
const LEFT = 130;
const WIDTH = 900;

export function Timeline({ names, changes, now }) {
  const known = now - (changes[0]?.at ?? now);
  const span = Math.min(LONGEST, Math.max(SHORTEST, known * 1.05));
  const begin = now - span;
  const x = (at) => LEFT + ((Math.max(at, begin) - begin) / span) * (WIDTH - LEFT);
  const height = names.length * ROW + 24;
  const recent = changes.filter((each) => each.why).slice(-8).reverse();
  return html`<section aria-labelledby="timeline">
    <h2 id="timeline">Who was awake when</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Time line">
      <svg viewBox=${`0 0 ${WIDTH} ${height}`} class="timeline" role="img" aria-label="States of the models over the last minutes">
        ${names.map((name, row) => html`<g key=${name}>
          <text x="0" y=${row * ROW + 17}>${name.length > 17 ? `${name.slice(0, 16)}…` : name}</text>
          ${spans(changes.filter((each) => each.model === name), begin, now).map((span) => html`<rect
            key=${span.from} class=${`span ${span.state}`} x=${x(span.from)} y=${row * ROW + 4} width=${Math.max(1, x(span.to) - x(span.from))} height=${ROW - 8}>
            <title>${name}: ${STATES[span.state]}${span.why ? `, ${span.why}` : ""}</title></rect>`)}
        </g>`)}
        ${TICKS.map((part) => html`<text key=${part} class="tick" x=${x(now - part * span)} y=${height - 4} text-anchor=${part ? "middle" : "end"}>${part ? `−${seconds((part * span) / 1000)}` : "now"}</text>`)}
      </svg>
    </div>
    ${recent.length > 0 && html`<ul class="changes">${recent.map((each) => html`<li key=${`${each.at}${each.model}${each.state}`}>
      <time>${new Date(each.at).toLocaleTimeString()}</time> <strong>${each.model}</strong> ${STATES[each.state]}: ${each.why}</li>`)}</ul>`}
  </section>`;
}

/** Return what an event says of a model's state, as far as it does. */
export function changed({ event, data }) {
  if (event !== "state_changed") return null;
  const { at, model, after, why } = JSON.parse(data);
  return { at: Date.parse(at), model, state: after, why };
}

function spans(changes, begin, now) {
  return changes
    .map((each, index) => ({ ...each, from: each.at, to: changes[index + 1]?.at ?? now }))
    .filter((each) => each.to > begin);
}
