// A button that says what it does now, or why it does nothing.
import { html } from "./html.js";

/** `does` says what it does; `not`, where it has any words, why it does nothing. It is reached by the keyboard then too, so that everybody can learn why. */
export function Button({ does, not, onClick, children, type = "button", ...rest }) {
  const press = not ? (event) => event.preventDefault() : onClick;
  return html`<button type=${type} title=${not || does} aria-disabled=${not ? "true" : undefined} onClick=${press} ...${rest}>${children}</button>`;
}
