// One card for each model: how it is, why, and what may be done with it.
import { useState } from "preact/hooks";
import { post } from "./api.js";
import { Button } from "./button.js";
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
      ${may(me, "control") && html`<${Buttons} name=${name} model=${model} busy=${busy} order=${order} />`}
      <span class="links">
        ${may(me, "use") && html`<a href=${`#playground/${encodeURIComponent(name)}`} aria-label=${`Chat with ${name}`}>Chat</a>`}
        ${may(me, "control") && html`<a href=${`#logs/${encodeURIComponent(name)}`} aria-label=${`Log of ${name}`}>Log</a>`}
      </span>
    </footer>
  </article>`;
}

function Buttons({ name, model, busy, order }) {
  const { state, pinned } = model;
  const asked = busy && "It was asked for something that is not done yet";
  const rises = { not_started: "Starts it", failed: "Starts it anew" }[state] ?? "Wakes it";
  const awake = asked || whyNotWake(state);
  const pins = pinned ? "Lets it sleep for others again" : state === "running" ? "Keeps it awake, whoever else needs the room" : "Has the policy wake it, and it sleeps for no other";
  return html`
    <${Button} does=${`${rises} when its turn comes`} not=${awake} onClick=${() => order("wake")} aria-label=${`Wake ${name}`}>Wake<//>
    <${Button} does=${`Puts it to sleep${model.in_flight > 0 ? " once it has answered" : ""}: ${depth(model.eviction)}`} not=${asked || whyNotSleep(state)} onClick=${() => order("sleep")} aria-label=${`Put ${name} to sleep`}>Sleep<//>
    <${Button} does=${`${rises} at once; whoever is in its way and not pinned sleeps`} not=${awake} onClick=${() => order("switch")} aria-label=${`Switch to ${name}`}>Switch<//>
    <${Button} does=${pins} not=${asked} aria-pressed=${pinned} onClick=${() => order(pinned ? "unpin" : "pin")} aria-label=${`Pin ${name}`}>${pinned ? "Pinned" : "Pin"}<//>`;
}

const itIs = (state) => (state === "failed" ? "It has failed" : `It is ${STATES[state]}`);

function whyNotWake(state) {
  if (SINKING.includes(state)) return `${itIs(state)}: it can be woken once it is asleep`;
  return RISING.includes(state) || state === "running" ? `${itIs(state)} already` : "";
}

function whyNotSleep(state) {
  if (RISING.includes(state)) return `${itIs(state)}: it can be put to sleep once it is awake`;
  if (SINKING.includes(state) || state === "asleep") return `${itIs(state)} already`;
  return state === "running" ? "" : `${itIs(state)}: there is nothing to put to sleep`;
}
