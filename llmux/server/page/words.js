// Numbers and states as people read them.

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
  if (count < 10) return `${count.toFixed(2)} s`;
  if (count < 120) return `${Math.round(count)} s`;
  if (count < 7200) return `${Math.round(count / 60)} min`;
  return `${Math.round(count / 3600)} h`;
}

export const since = (iso, now) => seconds(Math.max(0, (now - Date.parse(iso)) / 1000));

/** A resource's amount: some are bytes, some are counted. */
export function amount(resource, count) {
  return /memory|disk/.test(resource) ? bytes(count) : String(count);
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

export const RISING = ["starting", "waking"];
export const SINKING = ["draining", "going_to_sleep", "deepening"];
