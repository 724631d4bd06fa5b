// Numbers, times and states as people read them.

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count >= 100 || unit === 0 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

export function seconds(count) {
  if (count === null || count === undefined) return "–";
  if (count < 10) return `${count.toFixed(count < 1 ? 2 : 1)} s`;
  if (count < 120) return `${Math.round(count)} s`;
  if (count < 7200) return `${Math.round(count / 60)} min`;
  if (count < 172_800) return `${Math.round(count / 3600)} h`;
  return `${Math.round(count / 86_400)} days`;
}

export const since = (iso, now) => whole(now - Date.parse(iso));
export const until = (iso, now) => whole(Date.parse(iso) - now);
export const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false });
export const number = (count) => (count === null || count === undefined ? "–" : count.toLocaleString());

/** A time that goes on: nobody reads the parts of its seconds. */
function whole(ms) {
  const count = Math.max(0, ms / 1000);
  return count < 10 ? `${Math.floor(count)} s` : seconds(count);
}

/** A resource's amount: some are bytes, some are counted. */
export function amount(resource, count) {
  return /memory|disk/.test(resource) ? bytes(count) : String(count);
}

const WEIGHTS = { retain: "weights kept", offload: "weights in host memory", discard: "weights dropped" };
const PROCESS = { keep_running: "process kept", checkpoint: "process on disk", stop: "process ended", cuda_suspend: "GPU memory in host memory" };

/** How deep a sleep is. */
export function depth({ weights, process }) {
  return process === "stop" ? PROCESS.stop : `${WEIGHTS[weights] ?? weights}, ${PROCESS[process] ?? process}`;
}

export const STATES = {
  not_started: "not started",
  starting: "starting",
  running: "awake",
  draining: "draining",
  going_to_sleep: "going to sleep",
  asleep: "asleep",
  deepening: "sleeping deeper",
  waking: "waking",
  failed: "failed",
};

/** What a move is at, as operations and replicas tell it; other names speak for themselves. */
const PHASES = {
  waiting: "waiting for room",
  engine_sleep: "letting go of its weights",
  cuda_suspend: "leaving its GPUs",
  dump: "being written to disk",
  end: "ending its processes",
  restore: "being restored",
  cuda_resume: "coming back to its GPUs",
  health: "until it answers",
  wake: "taking up its weights",
};

export const phase = (name) => PHASES[name] ?? STATES[name] ?? name.replaceAll("_", " ");

export const RISING = ["starting", "waking"];
export const SINKING = ["draining", "going_to_sleep", "deepening"];
