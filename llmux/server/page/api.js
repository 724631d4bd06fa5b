// llmux's API as this page uses it. A key, where one is needed, lives as long as the tab.

const KEY = "llmux-key";
const LOOK = 0.25; // seconds between two looks at an operation that is not over yet

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** What llmux answered instead of what was asked for; `hint` says what to do, and is no part of `message`, whose end it is in llmux's answer. */
export class Refused extends Error {
  constructor(status, { message = `status ${status}`, code = "", hint = "" }) {
    super(hint && message.endsWith(hint) ? message.slice(0, -hint.length).trim() : message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

function headers() {
  return key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
}

/** Ask; return the answer itself. Throws Refused. */
export async function ask(path, { method = "GET", body, signal } = {}) {
  const init = { method, signal, headers: headers(), cache: "no-store" };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, init);
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.error ?? {});
}

export const get = async (path, options) => (await ask(path, options)).json();
export const post = async (path, body) => (await ask(path, { method: "POST", body: body ?? {} })).json();
export const remove = async (path) => ask(path, { method: "DELETE" });

/** Have llmux do what takes long, telling of the operation as it goes on; return its result. Throws Refused. */
export async function perform(path, tell) {
  let operation = await post(`${path}?wait=false`);
  while (operation.status === "under_way") {
    tell(operation);
    operation = await get(`/control/operations/${operation.id}?wait=${LOOK}`);
  }
  if (operation.problem) throw new Refused(0, operation.problem);
  return operation.result;
}

/** Yield the events of a stream: {id, event, data} with data as it came. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = parts.pop();
    for (const part of parts) yield parsed(part);
  }
}

function parsed(text) {
  const found = { id: "", event: "message", data: "" };
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue;
    const value = line.slice(colon + 1).replace(/^ /, "");
    const name = line.slice(0, colon);
    if (name === "data") found.data += (found.data && "\n") + value;
    else if (name in found) found[name] = value;
  }
  return found;
}

/**
 * Follow llmux's events for good, from the last one seen on; tell whether the stream is there. Returns what ends it.
 * Each llmux numbers its events anew: of one that was started since, all are wanted.
 */
export function follow(onEvent, onState) {
  const controller = new AbortController();
  const { signal } = controller;
  let last = "0";
  let started = null;
  async function once() {
    const { llmux } = await get("/control/whoami", { signal });
    if (started !== null && llmux.started_at !== started) last = "0";
    started = llmux.started_at;
    const init = { signal, headers: { ...headers(), "Last-Event-ID": last }, cache: "no-store" };
    const answer = await fetch("/control/events", init);
    if (!answer.ok) throw new Refused(answer.status, {});
    onState(true);
    for await (const each of events(answer)) {
      if (each.id) last = each.id;
      if (each.data) onEvent(each.event, JSON.parse(each.data));
    }
  }
  async function run() {
    while (!signal.aborted) {
      await once().catch(() => {}); // whatever it was, it is tried again
      if (signal.aborted) return;
      onState(false);
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
  run();
  return () => controller.abort();
}
