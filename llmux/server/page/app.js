// The page: what is shown, and how it learns of it.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { follow, get, token } from "./api.js";
import { Budgets } from "./budgets.js";
import { Checkpoints } from "./checkpoints.js";
import { html } from "./html.js";
import { Logs } from "./logs.js";
import { Models } from "./models.js";
import { Playground } from "./playground.js";
import { Requests } from "./requests.js";
import { changed, Timeline } from "./timeline.js";

const VIEWS = { overview: "Overview", playground: "Playground", checkpoints: "Checkpoints", logs: "Logs" };
const POLL = 5000; // ms, beside the events
const SETTLE = 100; // ms in which further events are taken together

function useView() {
  const read = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "overview");
  const [view, setView] = useState(read);
  useEffect(() => {
    const move = () => setView(read());
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);
  return view;
}

function useNow() {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** What llmux says of itself: asked for again at each of its events. */
function useLlmux(attempt) {
  const [told, setTold] = useState({ status: null, operations: [], requests: [], changes: [], live: false, error: null });
  const add = (more) => setTold((before) => ({ ...before, ...more }));
  useEffect(() => {
    let soon = null;
    async function look() {
      soon = null;
      try {
        const [status, { operations }, { requests }] = await Promise.all(
          ["status", "operations", "requests"].map((each) => get(`/control/${each}`)),
        );
        add({ status, operations, requests, error: null });
      } catch (error) {
        add({ error });
      }
    }
    const lookSoon = () => (soon ??= setTimeout(look, SETTLE));
    const heard = (each) => {
      const change = changed(each);
      if (change) setTold((before) => ({ ...before, changes: [...before.changes, change].slice(-2000) }));
      lookSoon();
    };
    look();
    const timer = setInterval(look, POLL);
    const leave = follow("/control/events", heard, (live) => add({ live }));
    return () => {
      leave();
      clearInterval(timer);
      clearTimeout(soon);
    };
  }, [attempt]);
  return told;
}

function App() {
  const [attempt, setAttempt] = useState(0);
  const llmux = useLlmux(attempt);
  const view = useView();
  const now = useNow();
  const [message, setMessage] = useState(null);
  const report = (text, hint) => setMessage(text && { text, hint });
  const denied = [401, 403].includes(llmux.error?.status);
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header class="top">
      <h1>llmux</h1>
      <nav aria-label="Views">${Object.entries(VIEWS).map(([name, title]) => html`<a
        key=${name} href=${`#${name}`} aria-current=${view === name ? "page" : undefined}>${title}</a>`)}</nav>
      <span class=${llmux.live ? "live" : "live off"} role="status">${llmux.live ? "live" : "not connected"}</span>
    </header>
    <main id="main" tabindex="-1">
      ${message && html`<div class="message" role="alert"><p>${message.text}${message.hint && html`<br /><em>${message.hint}</em>`}</p>
        <button type="button" onClick=${() => setMessage(null)}>Close</button></div>`}
      ${denied && html`<${Door} retry=${() => setAttempt(attempt + 1)} />`}
      ${!denied && llmux.error && html`<p class="problem" role="alert">llmux does not answer: ${llmux.error.message}</p>`}
      ${llmux.status && !denied && html`<${View} view=${view} llmux=${llmux} now=${now} report=${report} />`}
    </main>`;
}

function View({ view, llmux, now, report }) {
  const names = Object.keys(llmux.status.models);
  switch (view) {
    case "playground":
      return html`<${Playground} names=${names} />`;
    case "checkpoints":
      return html`<${Checkpoints} now=${now} report=${report} />`;
    case "logs":
      return html`<${Logs} names=${names} />`;
    default:
      return html`<${Models} status=${llmux.status} operations=${llmux.operations} now=${now} report=${report} />
        <${Timeline} names=${names} changes=${llmux.changes} now=${now} />
        <${Requests} requests=${llmux.requests} now=${now} report=${report} />
        <${Budgets} node=${llmux.status.node} report=${report} />`;
  }
}

function Door({ retry }) {
  const [value, setValue] = useState("");
  const enter = (event) => {
    event.preventDefault();
    token.set(value);
    retry();
  };
  return html`<form class="door" onSubmit=${enter}>
    <h2>This llmux asks for a key</h2>
    <label>Key <input type="password" autocomplete="off" required value=${value} onInput=${(event) => setValue(event.target.value)} /></label>
    <button type="submit">Enter</button>
    <p class="quiet">It is kept until this tab is closed.</p></form>`;
}

render(html`<${App} />`, document.getElementById("app"));
