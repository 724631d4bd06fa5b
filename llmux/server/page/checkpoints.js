// What lies on disk, what is in it, and whether it is whole.
import { useEffect, useState } from "preact/hooks";
import { ask, get, perform, post } from "./api.js";
import { Button } from "./button.js";
import { html } from "./html.js";
import { Inside, path } from "./inside.js";
import { may } from "./llmux.js";
import { Progress } from "./progress.js";
import { bytes, CHECKPOINTS, depth, seconds, since, USES } from "./words.js";

const NEEDLESS = ["orphan", "half_made"];

export function Checkpoints({ me, models, now, report }) {
  const [entries, setEntries] = useState(null);
  const [shown, setShown] = useState(null);
  const [busy, setBusy] = useState({}); // by name: true, or the operation that is under way
  const failed = (error) => report(error.message, error.hint);
  const look = () => get("/control/checkpoints").then((told) => setEntries(told.checkpoints), failed);
  const generations = JSON.stringify(Object.values(models).map((each) => [each.state, each.checkpoint?.generation]));
  useEffect(() => void look(), [generations]);
  const admin = may(me, "admin");

  async function doing(name, work) {
    const tell = (how) => setBusy((before) => ({ ...before, [name]: how }));
    tell(true);
    await work(tell).catch(failed);
    tell(false);
    look();
  }
  /** Say why nothing can be done with it: something is under way, or it is in one of these uses. */
  const whyNot = ({ name, use }, ...uses) => (busy[name] ? "It is being verified or removed" : uses.includes(use) ? `It is ${USES[use]}` : "");
  const verify = (name) =>
    doing(name, async (tell) => {
      const told = await perform(path(name, "/verify"), tell);
      report(told.sound ? `${name}: whole, looked at in ${seconds(told.seconds)}` : `${name}: ${told.fault}`, null, told.sound);
    });
  const remove = (each) =>
    confirm(`Delete the checkpoint of ${each.name}? ${each.use === "asleep" ? "It starts cold when it is next woken." : ""}`) &&
    doing(each.name, () => ask(path(each.name), { method: "DELETE" }));
  const prune = () =>
    doing("", async () => {
      const { removed } = await post("/control/checkpoints/prune");
      report(`Removed: ${removed.map((each) => each.name).join(", ") || "nothing"}`, null, true);
    });

  return html`<section aria-labelledby="checkpoints">
    <div class="line"><h2 id="checkpoints">Checkpoints</h2>
      ${admin && entries?.some((each) => NEEDLESS.includes(each.kind)) && html`<${Button} class="small" does="Removes checkpoints of no configured model, and half-made ones" not=${busy[""] && "They are being removed"} onClick=${prune}>Remove what nobody needs<//>`}</div>
    ${entries?.length === 0 && html`<p class="quiet">None: no model has slept on disk yet.</p>`}
    ${entries?.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Checkpoints"><table>
      <thead><tr><th scope="col">of</th><th scope="col">is</th><th scope="col">sleeps with</th><th scope="col" class="number">size</th><th scope="col" class="number">age</th><th scope="col">actions</th></tr></thead>
      <tbody>${entries.map((each) => html`<tr key=${each.name + each.kind + each.path}>
        <th scope="row">${each.name}</th>
        <td class=${each.problem ? "wrong" : ""}>${[CHECKPOINTS[each.kind], USES[each.use]].filter(Boolean).join(", ")}${each.problem && html`<br />${each.problem.message}`}${busy[each.name]?.phase && html`<${Progress} operation=${busy[each.name]} />`}</td>
        <td>${each.eviction ? depth(each.eviction) : "–"}</td>
        <td class="number">${bytes(each.bytes)}</td><td class="number">${each.created_at ? since(each.created_at, now) : "–"}</td>
        <td><div class="buttons">
          ${each.kind === "published" && html`<${Button} class="small" does=${shown === each.name ? "Hides what is in it" : "Shows its processes, its sockets and what a restore needs"} aria-expanded=${shown === each.name} onClick=${() => setShown(shown === each.name ? null : each.name)} aria-label=${`Look into ${each.name}`}>Look into it<//>`}
          ${admin && each.kind === "published" && html`<${Button} class="small" does="Compares every byte of it with its manifest" not=${whyNot(each, "replacing")} onClick=${() => verify(each.name)} aria-label=${`Verify ${each.name}`}>Verify<//>`}
          ${admin && each.kind !== "half_made" && html`<${Button} class="small" does=${each.use === "asleep" ? "Removes it from disk; its model starts cold when it is next woken" : "Removes it from disk"} not=${whyNot(each, "restoring", "replacing")} onClick=${() => remove(each)} aria-label=${`Delete ${each.name}`}>Delete<//>`}
        </div></td></tr>`)}</tbody></table></div>`}
    ${shown && html`<${Inside} key=${shown} name=${shown} failed=${failed} />`}
  </section>`;
}
