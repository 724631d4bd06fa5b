// One card for each model: how it is, why, and what may be done with it.
import { useState } from "preact/hooks";
import { post } from "./api.js";
import { html } from "./html.js";
import { bytes, RISING, seconds, since, SINKING, STATES } from "./words.js";

export function Models({ status, operations, now, report }) {
  const names = Object.keys(status.models);
  return html`<section aria-labelledby="models">
    <h2 id="models">Models</h2>
    <div class="cards">
      ${names.map((name) => html`<${Card}
        key=${name} name=${name} model=${status.models[name]} now=${now} report=${report}
        operation=${operations.find((each) => each.model === name && each.status === "under_way")} />`)}
    </div>
  </section>`;
}

function Card({ name, model, operation, now, report }) {
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
  const sleeps = !["running", "draining"].includes(model.state);
  const replicas = Object.entries(model.replicas);
  return html`<article class="card" aria-labelledby=${`m-${name}`} data-model=${name}>
    <header>
      <h3 id=${`m-${name}`}>${name}</h3>
      <span class=${`state ${model.state}`}>${STATES[model.state]}</span>
    </header>
    <p class="quiet">for ${since(model.since, now)}, sleeps by ${model.eviction.weights}, ${model.eviction.process.replace("_", " ")}</p>
    ${(moving || busy) && html`<${Progress} operation=${operation} />`}
    <dl>
      <dt>answering</dt><dd>${model.in_flight}</dd>
      <dt>waiting</dt><dd>${model.held}</dd>
      ${model.checkpoint && html`<dt>checkpoint</dt><dd>${bytes(model.checkpoint.bytes)}, ${since(model.checkpoint.created_at, now)} old</dd>`}
      ${model.last_wake && html`<dt>last wake</dt><dd>${model.last_wake.kind.replace("_", " ")}, ${seconds(model.last_wake.seconds)}</dd>`}
    </dl>
    ${replicas.length > 1 && replicas.map(([each, replica]) => html`<p class="quiet" key=${each}>${each}: ${STATES[replica.state]}</p>`)}
    ${model.last_move && html`<p class="why">${model.last_move.what}: ${model.last_move.why}</p>`}
    ${model.problem && html`<p class="problem" role="note">${model.problem.message}${model.problem.hint && html`<br /><em>${model.problem.hint}</em>`}</p>`}
    ${model.last_wake?.reason && html`<p class="quiet">It started cold: ${model.last_wake.reason}.</p>`}
    <footer>
      <button type="button" disabled=${busy || moving || !sleeps} onClick=${() => order("wake")} aria-label=${`Wake ${name}`}>Wake</button>
      <button type="button" disabled=${busy || moving || model.state !== "running"} onClick=${() => order("sleep")} aria-label=${`Put ${name} to sleep`}>Sleep</button>
      <button type="button" disabled=${busy || moving || !sleeps} onClick=${() => order("switch")} aria-label=${`Switch to ${name}`}>Switch to it</button>
      <button type="button" aria-pressed=${model.pinned} disabled=${busy} onClick=${() => order(model.pinned ? "unpin" : "pin")} aria-label=${`Pin ${name}`}>${model.pinned ? "Pinned" : "Pin"}</button>
    </footer>
  </article>`;
}

function Progress({ operation }) {
  const told = operation?.phase ? `${operation.phase}${operation.eta_seconds ? `, about ${seconds(operation.eta_seconds)} left` : ""}` : "on its way";
  return html`<div class="progress">
    <progress aria-label=${told} max="100" value=${operation?.percent ?? undefined}></progress>
    <span class="quiet">${told}</span>
  </div>`;
}
