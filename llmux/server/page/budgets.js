// What the node has, and what models hold of it.
import { ask } from "./api.js";
import { html } from "./html.js";
import { amount, seconds } from "./words.js";

export function Budgets({ node, report }) {
  const resources = Object.keys(node.capacity);
  const other = node.mode === "auto" ? "manual" : "auto";
  const setMode = () => ask("/control/mode", { method: "PUT", body: { mode: other } }).catch((error) => report(error.message, error.hint));
  return html`<section aria-labelledby="node">
    <h2 id="node">Node</h2>
    <p>${node.mode === "auto" ? "The policy decides who is awake." : "Models wake and sleep by hand only."}
      <button type="button" onClick=${setMode}>Switch to ${other}</button></p>
    <p class="quiet">Policy <strong>${node.policy}</strong>${node.longest_wait_seconds && html`: no model waits longer than ${seconds(node.longest_wait_seconds)} for its turn`}</p>
    ${resources.map((each) => html`<div class="budget" key=${each}>
      <label for=${`b-${each}`}>${each.replace("_", " ").replace(":", " ")}</label>
      <meter id=${`b-${each}`} min="0" max=${node.capacity[each]} value=${node.held[each] ?? 0}></meter>
      <span>${amount(each, node.held[each] ?? 0)} of ${amount(each, node.capacity[each])}</span>
    </div>`)}
  </section>`;
}
