// Numbers, times and states as people read them: in the same words as on a terminal, which has its own copy (_words.py).

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const [unit, size] = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20]].find(([, size]) => count >= size) ?? ["bytes", 1];
  return `${size === 1 ? count : Number((count / size).toPrecision(4))} ${unit}`;
}

/** Units of time: how many seconds each has, and below how many seconds it says most. */
const UNITS = [["s", 1, 120], ["min", 60, 7200], ["h", 3600, 172_800], ["days", 86_400, Infinity]];
const unitFor = (count) => UNITS.find(([, , below]) => count < below);

export function seconds(count) {
  if (count === null || count === undefined) return "–";
  if (count < 10) return `${count.toFixed(count < 1 ? 2 : 1)} s`;
  const [unit, length] = unitFor(count);
  return `${Math.round(count / length)} ${unit}`;
}

/** Parts of so many seconds, all in the unit that says most of the whole. */
export function scale(whole, parts) {
  const [unit, length] = unitFor(whole);
  return parts.map((part) => `${Number(((part * whole) / length).toFixed(1))} ${unit}`);
}

export const since = (iso, now) => age((now - Date.parse(iso)) / 1000);
export const until = (iso, now) => age((Date.parse(iso) - now) / 1000);
export const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false });
export const number = (count) => (count === null || count === undefined ? "–" : count.toLocaleString());

/** A time that goes on: nobody reads the parts of its seconds. */
export function age(count) {
  const passed = Math.max(0, count);
  return passed < 10 ? `${Math.floor(passed)} s` : seconds(passed);
}

/** A resource's amount: some are bytes, some are counted. */
export function amount(resource, count) {
  return /memory|disk/.test(resource) ? bytes(count) : String(count);
}

const plain = (name) => name.replaceAll("_", " ");

export const resource = (name) => plain(name).replace(":", " ");

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
export const PHASES = {
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

export const WEIGHTS = { retain: "weights kept", offload: "weights in host memory", discard: "weights dropped" };
export const PROCESS = {
  keep_running: "process kept",
  cuda_suspend: "GPU memory in host memory",
  checkpoint: "process on disk",
  stop: "process ended",
};
export const WAKES = { restored: "restored", cold_start: "started cold", warm: "woken" };
export const CHECKPOINTS = {
  published: "whole as far as is known",
  unusable: "unusable",
  orphan: "of no configured model",
  half_made: "half made",
};
export const USES = { none: "", asleep: "its model sleeps in it", restoring: "being restored", replacing: "being replaced" };
export const DRAINED = "drained: no new request is let in";
export const MANUAL = "manual: models wake and sleep by hand only";
export const NOT_TOLD = "NVML does not tell";

export const phase = (name) => PHASES[name] ?? STATES[name] ?? plain(name);
export const wake = (kind) => WAKES[kind] ?? plain(kind);

/** How deep a sleep is. A process that is ended keeps no weights. */
export function depth({ weights, process }) {
  const kept = PROCESS[process] ?? plain(process);
  return process === "stop" ? kept : `${WEIGHTS[weights] ?? plain(weights)}, ${kept}`;
}

export const RISING = ["starting", "waking"];
export const SINKING = ["draining", "going_to_sleep", "deepening"];
