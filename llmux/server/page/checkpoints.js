// What lies on disk, what is in it, and whether it is whole.
import { useEffect, useState } from "preact/hooks";
import { ask, get, post } from "./api.js";
import { html } from "./html.js";
import { bytes, seconds, since } from "./words.js";

const path = (name, call = "") => `/control/checkpoints/${encodeURIComponent(name)}${call}`;

export function Checkpoints({ now, report }) {
  const [entries, setEntries] = useState(null);
  const [shown, setShown] = useState(null);
  const failed = (error) => report(error.message, error.hint);
  const look = () => get("/control/checkpoints").then((told) => setEntries(told.checkpoints), failed);
  useEffect(() => void look(), []);

  async function verify(name) {
    try {
      const told = await post(path(name, "/verify"));
      report(told.sound ? `${name}: whole, looked at in ${seconds(told.seconds)}` : `${name}: ${told.fault}`);
    } catch (error) {
      failed(error);
    }
  }
  async function remove(name) {
    if (!confirm(`Delete the checkpoint of ${name}? It starts cold when it is next woken.`)) return;
    await ask(path(name), { method: "DELETE" }).catch(failed);
    look();
  }

  return html`<section aria-labelledby="checkpoints">
    <h2 id="checkpoints">Checkpoints</h2>
    ${entries?.length === 0 && html`<p class="quiet">None: no model has slept on disk yet.</p>`}
    ${entries?.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Checkpoints"><table>
      <thead><tr><th scope="col">of</th><th scope="col">is</th><th scope="col">size</th><th scope="col">age</th><th scope="col">actions</th></tr></thead>
      <tbody>${entries.map((each) => html`<tr key=${each.name + each.kind}>
        <td>${each.name}</td><td>${each.kind.replace("_", " ")}</td><td>${bytes(each.bytes)}</td><td>${each.created_at ? since(each.created_at, now) : "–"}</td>
        <td><div class="buttons">
          <button type="button" disabled=${each.kind !== "published"} onClick=${() => setShown(each.name)} aria-label=${`Look into ${each.name}`}>Look into it</button>
          <button type="button" disabled=${each.kind !== "published"} onClick=${() => verify(each.name)} aria-label=${`Verify ${each.name}`}>Verify</button>
          <button type="button" disabled=${each.kind !== "published"} onClick=${() => remove(each.name)} aria-label=${`Delete ${each.name}`}>Delete</button>
        </div></td></tr>`)}</tbody></table></div>`}
    ${shown && html`<${Inside} key=${shown} name=${shown} failed=${failed} />`}
  </section>`;
}

function Inside({ name, failed }) {
  const [report, setReport] = useState(null);
  const [graph, setGraph] = useState(null);
  useEffect(() => {
    let address = null;
    get(path(name, "/report")).then(setReport, failed);
    // By hand: the picture's own request would carry no key.
    ask(path(name, "/graph")).then(async (answer) => {
      address = URL.createObjectURL(await answer.blob());
      setGraph(address);
    }, failed);
    return () => address && URL.revokeObjectURL(address);
  }, [name]);
  return html`<section aria-labelledby="inside">
    <h3 id="inside">What is in the checkpoint of ${name}</h3>
    ${!report && html`<p class="quiet">Reading its images…</p>`}
    ${report && html`<ul>${Object.entries(report).filter(([, value]) => Array.isArray(value) && value.length).map(([part, value]) => html`<li key=${part}>${value.length} ${part.replaceAll("_", " ")}</li>`)}</ul>
      <details><summary>Everything, as JSON</summary><pre tabindex="0">${JSON.stringify(report, null, 2)}</pre></details>`}
    ${graph && html`<div class="scroll" tabindex="0" role="region" aria-label="Graph"><img class="graph" src=${graph} alt=${`Processes of ${name} with their sockets, pipes and shared files`} /></div>`}
  </section>`;
}
