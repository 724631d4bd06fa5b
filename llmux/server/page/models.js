// One card for each model: how it is, why, and what may be done with it.
import { useState } from "preact/hooks";
import { post } from "./api.js";
import { html } from "./html.js";
import { may } from "./llmux.js";
import { Progress } from "./progress.js";
import { bytes, depth, DRAINED, RISING, seconds, since, SINKING, STATES, wake } from "./words.js";

export function Models({ me, status, operations, now, report }) {
  const names = Object.keys(status.models);
  return html`<section aria-labelledby="models">
    <h2 id="models">Models</h2>
    <div class="cards">
      ${names.map((name) => html`<${Card}
        key=${name} me=${me} name=${name} model=${status.models[name]} now=${now} report=${report}
        operation=${operations.find((each) => each.model === name && each.status === "under_way" && each.kind !== "verify")} />`)}
    </div>
  </section>`;
}

function Card({ me, name, model, operation, now, report }) {
  const [busy, setBusy] = useState(false);
  async function order(call) {
    setBusy(true);
    try {
      await post(`/control/${call}`, { model: name });
      report(null);
    } catch (error) {
      report(`${name}: ${error.message}`, error.hint);
    }
    setBusy(false);
  }
  const moving = RISING.includes(model.state) || SINKING.includes(model.state);
  const replicas = Object.entries(model.replicas);
  const adapters = Object.keys(model.adapters);
  return html`<article class=${`card ${model.state}`} aria-labelledby=${`m-${name}`} data-model=${name}>
    <header>
      <h3 id=${`m-${name}`}>${name}</h3>
      <span class=${`state ${model.state}`}>${STATES[model.state]}</span>
    </header>
    <p class="quiet">for ${since(model.since, now)}; sleeps with ${depth(model.eviction)}</p>
    ${(moving || busy || operation) && html`<${Progress} operation=${operation} move=${model.phase} />`}
    <dl>
      <dt>requests</dt><dd>${model.in_flight} being answered, ${model.held} waiting${model.draining && `; ${DRAINED}`}</dd>
      ${model.checkpoint && html`<dt>checkpoint</dt><dd>${bytes(model.checkpoint.bytes)}, ${since(model.checkpoint.created_at, now)} old</dd>`}
      ${model.last_wake && html`<dt>last wake</dt><dd>${wake(model.last_wake.kind)} in ${seconds(model.last_wake.seconds)}${model.last_wake.reason && `: ${model.last_wake.reason}`}</dd>`}
      ${model.last_move && html`<dt>last move</dt><dd>${model.last_move.what}: ${model.last_move.why}, ${since(model.last_move.at, now)} ago</dd>`}
      ${adapters.length > 0 && html`<dt>adapters</dt><dd>${adapters.join(", ")}</dd>`}
      ${replicas.length > 1 && replicas.map(([each, replica]) => html`<dt key=${each}>${each}</dt><dd>${STATES[replica.state]}, ${replica.in_flight} being answered</dd>`)}
    </dl>
    ${[model.problem, model.checkpoint_problem].filter(Boolean).map((problem) => html`<p class="problem" role="note">${problem.message}${problem.hint && html`<br /><em>${problem.hint}</em>`}</p>`)}
    <footer>
      ${may(me, "control") && html`<${Buttons} name=${name} model=${model} still=${busy || moving} busy=${busy} order=${order} />`}
      <span class="links">
        ${may(me, "use") && html`<a href=${`#playground/${encodeURIComponent(name)}`} aria-label=${`Chat with ${name}`}>Chat</a>`}
        ${may(me, "control") && html`<a href=${`#logs/${encodeURIComponent(name)}`} aria-label=${`Log of ${name}`}>Log</a>`}
      </span>
    </footer>
  </article>`;
}

function Buttons({ name, model, still, busy, order }) {
  const sleeps = !["running", "draining"].includes(model.state);
  return html`
    <button type="button" title="It waits for its turn" disabled=${still || !sleeps} onClick=${() => order("wake")} aria-label=${`Wake ${name}`}>Wake</button>
    <button type="button" disabled=${still || model.state !== "running"} onClick=${() => order("sleep")} aria-label=${`Put ${name} to sleep`}>Sleep</button>
    <button type="button" title="Whoever is in the way sleeps at once" disabled=${still || !sleeps} onClick=${() => order("switch")} aria-label=${`Switch to ${name}`}>Switch</button>
    <button type="button" title="Pinned, it sleeps for nobody" aria-pressed=${model.pinned} disabled=${busy} onClick=${() => order(model.pinned ? "unpin" : "pin")} aria-label=${`Pin ${name}`}>${model.pinned ? "Pinned" : "Pin"}</button>`;
}
