// Who waits, and who is being answered.
import { remove } from "./api.js";
import { html } from "./html.js";
import { since } from "./words.js";

export function Requests({ requests, now, report }) {
  const end = (id) => remove(`/control/requests/${encodeURIComponent(id)}`).catch((error) => report(error.message, error.hint));
  return html`<section aria-labelledby="requests">
    <h2 id="requests">Requests</h2>
    ${requests.length === 0 && html`<p class="quiet">None at the moment.</p>`}
    ${requests.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Requests"><table>
      <thead><tr><th scope="col">model</th><th scope="col">call</th><th scope="col">is</th><th scope="col">since</th><th scope="col"></th></tr></thead>
      <tbody>${requests.map((each) => html`<tr key=${each.id}>
        <td>${each.model}</td><td>${each.path}</td><td>${each.state.replace("_", " ")}</td><td>${since(each.since, now)}</td>
        <td><button type="button" onClick=${() => end(each.id)} aria-label=${`Cancel request ${each.id}`}>Cancel</button></td></tr>`)}</tbody></table></div>`}
  </section>`;
}
