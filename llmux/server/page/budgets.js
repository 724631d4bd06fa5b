// What the node has, what models hold of it, and who decides which of them is awake.
import { ask } from "./api.js";
import { Button } from "./button.js";
import { html } from "./html.js";
import { may } from "./llmux.js";
import { amount, bytes, DRAINED, MANUAL, NOT_TOLD, resource, seconds } from "./words.js";

export function Budgets({ me, node, models, report }) {
  const other = node.mode === "auto" ? "manual" : "auto";
  const setMode = () => ask("/control/mode", { method: "PUT", body: { mode: other } }).catch((error) => report(error.message, error.hint));
  const waiting = Object.values(models).reduce((sum, each) => sum + each.held, 0);
  const flying = Object.values(models).reduce((sum, each) => sum + each.in_flight, 0);
  return html`<section aria-labelledby="node">
    <h2 id="node">Node</h2>
    <div class="tiles">
      <div class="tile"><span class="quiet">requests</span><span><strong>${flying}</strong> being answered, <strong>${waiting}</strong> waiting</span></div>
      ${Object.keys(node.capacity).map((each) => html`<${Budget} key=${each} name=${each} held=${node.held[each] ?? 0} there=${node.capacity[each]} />`)}
      ${node.gpus.map((each) => html`<${Gpu} key=${each.index} gpu=${each} models=${models} />`)}
    </div>
    <p class="line quiet"><span>${
      node.mode === "auto" ? html`the policy <strong>${node.policy}</strong> decides who is awake` : MANUAL}${
      node.longest_wait_seconds ? `; no model waits longer than ${seconds(node.longest_wait_seconds)} for its turn` : ""}${
      node.draining && `; ${DRAINED}`}</span>
      ${may(me, "control") && html`<${Button} class="small" does=${other === "manual" ? "Has models wake and sleep by hand only" : `Has the policy ${node.policy} decide who is awake`} onClick=${setMode}>Switch to ${other}<//>`}</p>
  </section>`;
}

function Budget({ name, held, there }) {
  const id = `b-${name}`;
  return html`<div class="tile">
    <label class="quiet" for=${id}>${resource(name)}</label>
    <span><strong>${amount(name, held)}</strong> of ${amount(name, there)}</span>
    <meter id=${id} min="0" max=${Math.max(there, 1)} value=${held}></meter>
  </div>`;
}

/** What is on a GPU now, whoever has it, as NVML tells; a budget is what models are to have. */
function Gpu({ gpu, models }) {
  const id = `g-${gpu.index}`;
  const told = gpu.used !== null && gpu.memory !== null;
  const shares = Object.entries(models).map(([name, model]) => [name, model.gpu_memory?.[gpu.index]]);
  const users = [...shares, ["others", gpu.others]].filter(([, share]) => share);
  return html`<div class="tile" data-gpu=${gpu.index}>
    <label class="quiet" for=${id}>on GPU ${gpu.index} now</label>
    <span>${told ? html`<strong>${bytes(gpu.used)}</strong> of ${bytes(gpu.memory)}` : NOT_TOLD}</span>
    ${users.length > 0 && html`<span class="quiet">${users.map(([name, share]) => `${name} ${bytes(share)}`).join(", ")}</span>`}
    ${gpu.problem && html`<p class="problem" role="note">${gpu.problem.message}</p>`}
    ${gpu.last_error && !gpu.problem && html`<span class="quiet">last error: ${gpu.last_error.meaning}</span>`}
    <meter id=${id} min="0" max=${Math.max(gpu.memory ?? 1, 1)} value=${gpu.used ?? 0}></meter>
  </div>`;
}
