// How far long work is, as a bar and in words.
import { html } from "./html.js";
import { bytes, phase, seconds } from "./words.js";

/** By the operation that somebody has asked for, or, where the policy decided on a move, by what that is at alone. */
export function Progress({ operation, move }) {
  const at = operation?.phase ?? move;
  const written = operation?.bytes && `${bytes(operation.bytes)}${operation.bytes_in_all ? ` of ${bytes(operation.bytes_in_all)}` : " written"}`;
  const left = operation?.eta_seconds && `about ${seconds(operation.eta_seconds)} left`;
  const told = at ? [phase(at), written, left].filter(Boolean).join(", ") : "on its way";
  return html`<div class="progress">
    <progress aria-label=${told} max="100" value=${operation?.percent ?? undefined}></progress>
    <span class="quiet">${told}</span>
  </div>`;
}
