// What is in one checkpoint: its processes, who holds which end of what, what its restore needs, and what of that is missing.
import { useEffect, useState } from "preact/hooks";
import { ask, get } from "./api.js";
import { html } from "./html.js";

export const path = (name, call = "") => `/control/checkpoints/${encodeURIComponent(name)}${call}`;

const COUNTED = {
  descriptors: "open descriptors", mappings: "mappings", unix_sockets: "Unix sockets", inet_sockets: "TCP and UDP sockets", paths: "paths",
  remaps: "files whose name is gone", memfds: "memory files", sysv_segments: "System V segments", fifos: "FIFOs", threads: "threads", namespaces: "namespaces",
};
const BY_REBUILD = "rebuild";

export function Inside({ name, failed }) {
  const [report, setReport] = useState(null);
  const [missing, setMissing] = useState(null);
  const [graph, setGraph] = useState(null);
  useEffect(() => {
    let address = null;
    get(path(name, "/report")).then(setReport, failed);
    get(path(name, "/missing")).then((told) => setMissing(told.missing), failed);
    // By hand: the picture's own request would carry no key.
    ask(path(name, "/graph")).then(async (answer) => {
      address = URL.createObjectURL(await answer.blob());
      setGraph(address);
    }, failed);
    return () => address && URL.revokeObjectURL(address);
  }, [name]);
  return html`<section aria-labelledby="inside">
    <h3 id="inside">What is in the checkpoint of ${name}</h3>
    ${!report && html`<p class="quiet">Its images are being read…</p>`}
    ${report && html`<${Processes} report=${report} />`}
    ${report && html`<${Needs} report=${report} />`}
    ${missing && html`<${Missing} missing=${missing} />`}
    ${graph && html`<h4>Who holds which end of what</h4>
      <div class="scroll" tabindex="0" role="region" aria-label="Graph"><img class="graph" src=${graph} alt=${`Processes of ${name} with their sockets, pipes and shared files`} /></div>
      <p><a href=${graph} download=${`${name}.svg`}>Save the picture</a></p>`}
    ${report && html`<details><summary>Everything, as JSON</summary><pre tabindex="0">${JSON.stringify(report, null, 2)}</pre></details>`}
  </section>`;
}

function Processes({ report }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Processes"><table>
      <thead><tr><th scope="col" class="number">pid</th><th scope="col" class="number">parent</th><th scope="col">command</th><th scope="col">program</th><th scope="col" class="number">threads</th><th scope="col">state</th></tr></thead>
      <tbody>${report.tasks.map((each) => html`<tr key=${each.pid}>
        <td class="number">${each.pid}</td><td class="number">${each.ppid || "–"}</td><td>${each.comm}</td><td>${each.exe ?? "–"}</td><td class="number">${each.threads.length}</td><td>${each.state}</td></tr>`)}</tbody></table></div>
    <ul class="counts">${Object.entries(COUNTED).filter(([part]) => report[part]?.length).map(([part, words]) => html`<li key=${part}><strong>${report[part].length}</strong> ${words}</li>`)}</ul>`;
}

function Needs({ report }) {
  const parts = [["A restore needs", report.needs], ["Not as it was afterwards", report.cautions], ["Not understood by this llmux", report.unknown]];
  return parts
    .filter(([, told]) => told.length)
    .map(([title, told]) => html`<h4 key=${title}>${title}</h4><ul>${told.map((each) => html`<li>${words(each)}</li>`)}</ul>`);
}

/** A need or caution in words, whatever it has beside them. */
const words = (each) => (typeof each === "string" ? each : [each.what, each.why].filter(Boolean).join(": ") || JSON.stringify(each));

function Missing({ missing }) {
  const bringers = [...new Set(missing.map((each) => each.mended_by))].filter((each) => each !== BY_REBUILD);
  const brought = missing.filter((each) => each.mended_by === BY_REBUILD).length;
  return html`<h4>What is missing here now</h4>
    <p class="quiet">${bringers.length === 0 ? "Nothing" : "This, and nothing else"} that a wake does not bring itself${brought > 0 && ` (it brings ${brought})`}.</p>
    ${bringers.map((by) => html`<${Brought} key=${by} by=${by} missing=${missing.filter((each) => each.mended_by === by)} />`)}`;
}

function Brought({ by, missing }) {
  return html`<details><summary>${missing.length} to be brought by ${by}</summary>
    <div class="scroll" tabindex="0" role="region" aria-label=${`Missing, to be brought by ${by}`}><table>
      <thead><tr><th scope="col">path</th><th scope="col">what</th><th scope="col">here</th></tr></thead>
      <tbody>${missing.map((each) => html`<tr key=${each.path}><td>${each.path}</td><td>${each.kind}</td><td>${each.found}</td></tr>`)}</tbody></table></div></details>`;
}
