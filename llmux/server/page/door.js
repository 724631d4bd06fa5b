// Who somebody is to llmux, and the key that they are it by.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./html.js";
import { until } from "./words.js";

/** In the top line: whose key it is and what is left of it. */
export function Who({ me, now, ask, leave }) {
  if (!me) return null;
  const { requests, tokens } = me.limits;
  const left = [requests && `${requests.left} of ${requests.per_minute} requests`, tokens && `${tokens.left} of ${tokens.per_minute} tokens`].filter(Boolean);
  return html`<div class="who-am-i">
    <span>${me.keyed ? html`<strong>${me.name}</strong>` : me.name}: ${me.role}</span>
    ${left.length > 0 && html`<span class="quiet">${left.join(", ")} left this minute</span>`}
    ${me.expires_at && html`<span class="quiet">expires in ${until(me.expires_at, now)}</span>`}
    ${me.keyed ? html`<button type="button" class="small" onClick=${leave}>Forget key</button>` : me.role !== "admin" && html`<button type="button" class="small" onClick=${ask}>Enter a key</button>`}
  </div>`;
}

/** Asks for a key; `problem` says what was wrong with the last one. */
export function Door({ problem, enter, cancel }) {
  const [value, setValue] = useState("");
  const field = useRef(null);
  useEffect(() => field.current?.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    enter(value.trim());
  };
  return html`<form class="door" onSubmit=${submit}>
    <h2>${cancel ? "Enter a key" : "This llmux asks for a key"}</h2>
    ${problem && html`<p class="problem" role="alert">${problem.message} ${problem.hint}</p>`}
    <label>Key <input ref=${field} type="password" autocomplete="off" spellcheck="false" required value=${value} onInput=${(event) => setValue(event.target.value)} /></label>
    <div class="buttons"><button type="submit" class="first">Enter</button>
      ${cancel && html`<button type="button" onClick=${cancel}>Cancel</button>`}</div>
    <p class="quiet">It stays in this tab and is forgotten with it. <code>access.keys</code> in llmux's configuration says which there are.</p></form>`;
}
