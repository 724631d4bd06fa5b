// The page: its views, and which of them somebody has a use for.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { key } from "./api.js";
import { Budgets } from "./budgets.js";
import { Checkpoints } from "./checkpoints.js";
import { Door, Who } from "./door.js";
import { Happened } from "./happened.js";
import { html } from "./html.js";
import { may, useLlmux } from "./llmux.js";
import { Logs } from "./logs.js";
import { Models } from "./models.js";
import { Playground } from "./playground.js";
import { Finished, Requests } from "./requests.js";
import { Timeline } from "./timeline.js";
import { clock } from "./words.js";

const VIEWS = {
  overview: { title: "Overview", right: "observe" },
  playground: { title: "Playground", right: "use" },
  requests: { title: "Requests", right: "observe" },
  checkpoints: { title: "Checkpoints", right: "observe" },
  logs: { title: "Logs", right: "control" },
};

/** Return the parts of where the address leads, none where anybody has written something else there. */
function read() {
  try {
    return location.hash.slice(1).split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

/** Return where the address leads: a view, and of what it is. */
function usePlace() {
  const [place, setPlace] = useState(read);
  useEffect(() => {
    const move = () => location.hash !== "#main" && setPlace(read()); // to its content is no way to another view
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);
  return place;
}

function useNow() {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

function App() {
  const [attempt, setAttempt] = useState(0);
  const [asksForKey, setAsksForKey] = useState(false);
  const [message, setMessage] = useState(null);
  const llmux = useLlmux(attempt);
  const [wanted, of] = usePlace();
  const now = useNow();
  const { me, error } = llmux;
  const views = Object.keys(VIEWS).filter((each) => may(me, VIEWS[each].right));
  const view = views.includes(wanted) ? wanted : views[0];
  const denied = error?.status === 401;
  const [chats, setChats] = useState(false); // the playground was opened: what is said there stays while one looks elsewhere
  useEffect(() => setChats((before) => before || view === "playground"), [view]);
  const report = (text, hint, good = false) => setMessage(text && { text, hint, good });
  const enter = (value) => {
    key.set(value);
    setAsksForKey(false);
    setMessage(null);
    setAttempt(attempt + 1);
  };
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header class="top">
      <h1>llmux</h1>
      <nav aria-label="Views">${views.map((name) => html`<a
        key=${name} href=${`#${name}`} aria-current=${view === name ? "page" : undefined}>${VIEWS[name].title}</a>`)}</nav>
      <${Who} me=${me} now=${now} ask=${() => setAsksForKey(true)} leave=${() => enter("")} />
      ${!denied && html`<${Live} llmux=${llmux} />`}
    </header>
    <main id="main" tabindex="-1">
      ${me && llmux.page !== me.llmux.page && html`<div class="message" role="alert"><p>llmux has another page than this one since it was started again.</p>
        <button type="button" onClick=${() => location.reload()}>Load it</button></div>`}
      ${error && !denied && html`<div class="message wrong" role="alert"><p>llmux does not answer (${error.message}${error.hint && ` ${error.hint}`}). It is asked again.
        ${llmux.seen && ` What is here is how it was at ${clock(llmux.seen)}.`}</p></div>`}
      ${message && html`<div class=${message.good ? "message good" : "message wrong"} role="alert"><p>${message.text}${message.hint && html`<br /><em>${message.hint}</em>`}</p>
        <button type="button" onClick=${() => setMessage(null)}>Close</button></div>`}
      ${(denied || asksForKey) && html`<${Door} problem=${key.get() && denied ? error : null} enter=${enter} cancel=${denied ? null : () => setAsksForKey(false)} />`}
      ${chats && may(me, "use") && html`<div hidden=${view !== "playground"}><${Playground} key=${attempt} status=${llmux.status} chosen=${view === "playground" ? of : undefined} /></div>`}
      ${me && html`<${View} view=${view} of=${of} llmux=${llmux} now=${now} report=${report} />`}
    </main>`;
}

function Live({ llmux }) {
  const live = llmux.live && !llmux.error;
  return html`<span class=${live ? "live" : "live off"} role="status">${live ? "live" : "not connected"}</span>`;
}

function View({ view, of, llmux, now, report }) {
  const { me, status } = llmux;
  if (!status || view === "playground") return null;
  const names = Object.keys(status.models);
  switch (view) {
    case "requests":
      return html`<${Requests} me=${me} requests=${llmux.requests} now=${now} report=${report} />
        <${Finished} finished=${llmux.finished} />`;
    case "checkpoints":
      return html`<${Checkpoints} me=${me} models=${status.models} now=${now} report=${report} />`;
    case "logs":
      return html`<${Logs} names=${names} chosen=${of} />`;
    default:
      return html`<${Budgets} me=${me} node=${status.node} models=${status.models} report=${report} />
        <${Models} me=${me} status=${status} operations=${llmux.operations} now=${now} report=${report} />
        <${Timeline} names=${names} happened=${llmux.happened} now=${now} />
        <${Requests} me=${me} requests=${llmux.requests} now=${now} report=${report} />
        <${Happened} happened=${llmux.happened} />`;
  }
}

render(html`<${App} />`, document.getElementById("app"));
