// Who waits, who is being answered, and who was.
import { remove } from "./api.js";
import { Button } from "./button.js";
import { html } from "./html.js";
import { may } from "./llmux.js";
import { clock, number, seconds, since } from "./words.js";

export function Requests({ me, requests, now, report }) {
  const end = (id) => remove(`/control/requests/${encodeURIComponent(id)}`).catch((error) => report(error.message, error.hint));
  const queued = {}; // how many wait for each model so far: they come the oldest first
  return html`<section aria-labelledby="requests">
    <h2 id="requests">Requests</h2>
    ${requests.length === 0 && html`<p class="quiet">None at the moment.</p>`}
    ${requests.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Requests"><table>
      <thead><tr><th scope="col">model</th><th scope="col">call</th><th scope="col">is</th><th scope="col" class="number">since</th>${may(me, "control") && html`<th scope="col">action</th>`}</tr></thead>
      <tbody>${requests.map((each) => html`<tr key=${each.id}>
        <td>${each.model}</td><td>${each.method === "POST" ? "" : `${each.method} `}${each.path}</td>
        <td>${each.state === "waiting" ? `waiting, number ${(queued[each.model] = (queued[each.model] ?? 0) + 1)}` : `answered by ${each.replica}`}</td>
        <td class="number">${since(each.since, now)}</td>
        ${may(me, "control") && html`<td><${Button} class="small" does=${each.state === "waiting" ? "Has it wait no longer: its client gets an error" : "Breaks its answer off with an error"} onClick=${() => end(each.id)} aria-label=${`Cancel request ${each.id}`}>Cancel<//></td>`}</tr>`)}</tbody></table></div>`}
  </section>`;
}

export function Finished({ finished }) {
  return html`<section aria-labelledby="finished">
    <h2 id="finished">The latest that are over</h2>
    ${finished.length === 0 && html`<p class="quiet">None yet.</p>`}
    ${finished.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Requests that are over"><table>
      <thead><tr><th scope="col">at</th><th scope="col">model</th><th scope="col">call</th><th scope="col">status</th><th scope="col">wake</th>
        <th scope="col" class="number">waited</th><th scope="col" class="number">first byte</th><th scope="col" class="number">in all</th>
        <th scope="col" class="number">tokens read</th><th scope="col" class="number">written</th><th scope="col" class="number">a second</th></tr></thead>
      <tbody>${finished.map((each) => html`<tr key=${each.request + each.at}>
        <td><time datetime=${each.at}>${clock(each.at)}</time></td><td>${each.model || "–"}</td><td>${each.method === "POST" ? "" : `${each.method} `}${each.path}</td>
        <td class=${each.outcome === "answered" && each.status < 400 ? "" : "wrong"}>${each.status} ${each.code || (each.outcome === "answered" ? "" : each.outcome.replaceAll("_", " "))}</td>
        <td>${each.wake}</td><td class="number">${seconds(each.queued)}</td><td class="number">${seconds(each.first_byte)}</td><td class="number">${seconds(each.seconds)}</td>
        <td class="number">${number(each.tokens?.prompt)}</td><td class="number">${number(each.tokens?.completion)}</td><td class="number">${rate(each)}</td></tr>`)}</tbody></table></div>`}
  </section>`;
}

/** Tokens a second, from the first byte on where a stream has one, else from when it was let in. */
function rate({ tokens, seconds: all, first_byte: first, queued }) {
  const begun = first !== null && all - first > 0.05 ? first : queued;
  return tokens?.completion && all > begun ? (tokens.completion / (all - begun)).toFixed(1) : "–";
}
