// What the node has, what models hold of it, and who decides which of them is awake.
import { ask } from "./api.js";
import { html } from "./html.js";
import { may } from "./llmux.js";
import { amount, seconds } from "./words.js";

export function Budgets({ me, node, models, report }) {
  const other = node.mode === "auto" ? "manual" : "auto";
  const setMode = () => ask("/control/mode", { method: "PUT", body: { mode: other } }).catch((error) => report(error.message, error.hint));
  const waiting = Object.values(models).reduce((sum, each) => sum + each.held, 0);
  const flying = Object.values(models).reduce((sum, each) => sum + each.in_flight, 0);
  return html`<section aria-labelledby="node">
    <h2 id="node">Node</h2>
    <div class="tiles">
      <div class="tile"><span class="quiet">requests</span><span><strong>${flying}</strong> answered, <strong>${waiting}</strong> waiting</span></div>
      ${Object.keys(node.capacity).map((each) => html`<${Budget} key=${each} name=${each} held=${node.held[each] ?? 0} there=${node.capacity[each]} />`)}
    </div>
    <p class="line quiet"><span>${
      node.mode === "auto" ? html`The policy <strong>${node.policy}</strong> decides who is awake` : html`<strong>Manual</strong>: models wake and sleep by hand only`}${
      node.longest_wait_seconds ? `; no model waits longer than ${seconds(node.longest_wait_seconds)} for its turn.` : "."}${
      node.draining ? " New requests are refused: it drains." : ""}</span>
      ${may(me, "control") && html`<button type="button" class="small" onClick=${setMode}>Switch to ${other}</button>`}</p>
  </section>`;
}

function Budget({ name, held, there }) {
  const id = `b-${name}`;
  const title = name.replaceAll("_", " ").replace(":", " ");
  return html`<div class="tile">
    <label class="quiet" for=${id}>${title}</label>
    <span><strong>${amount(name, held)}</strong> of ${amount(name, there)}</span>
    <meter id=${id} min="0" max=${Math.max(there, 1)} value=${held}></meter>
  </div>`;
}
