// What has happened, in words: who decided what and why, and what came of it.
import { html } from "./html.js";
import { bytes, clock, depth, seconds, wake as woken } from "./words.js";

const SHOWN = 30;
const BY_HAND = "asked for by hand";

export function Happened({ happened }) {
  const told = happened
    .map((each) => ({ ...each, words: WORDS[each.kind]?.(each) }))
    .filter((each) => each.words)
    .slice(-SHOWN)
    .reverse();
  return html`<section aria-labelledby="happened">
    <h2 id="happened">What happened, and why</h2>
    ${told.length === 0 && html`<p class="quiet">Nothing yet.</p>`}
    <ul class="changes">${told.map((each) => html`<li key=${each.id + each.at} class=${WRONG.includes(each.kind) || each.problem ? "wrong" : ""}>
      <time datetime=${each.at}>${clock(each.at)}</time> <strong>${each.replica ?? "llmux"}</strong> <span>${each.words}</span></li>`)}</ul>
  </section>`;
}

const WRONG = ["wake_failed", "sleep_failed", "engine_lost"];

const WORDS = {
  decided: ({ who, what, why }) => `to ${{ wake: "wake", sleep: "sleep", deepen: "sleep deeper" }[what] ?? what}, by ${who === "control" ? "hand" : who}${why === BY_HAND ? "" : `: ${why}`}`,
  wake_done: ({ wake, seconds: taken, reason, phases }) => `${woken(wake)} in ${seconds(taken)}${reason && `: ${reason}`}${parts(phases)}`,
  wake_failed: ({ wake, problem }) => `could not be ${wake === "warm" ? "woken" : wake === "restored" ? "restored" : "started"}: ${problem.message}`,
  sleep_done: ({ eviction, seconds: taken, size_bytes: size, reused, phases }) =>
    `asleep in ${seconds(taken)}, ${depth(eviction)}${size ? `, ${bytes(size)}${reused ? " (the checkpoint it was restored from)" : ""}` : ""}${parts(phases)}`,
  sleep_failed: ({ problem }) => `could not sleep: ${problem.message}`,
  engine_lost: ({ problem }) => `lost its engine: ${problem.message}`,
  engine_restarted: ({ why }) => `is started again: ${why}`,
  checkpoint_removed: ({ why }) => `its checkpoint is gone: ${why}`,
  configuration_reloaded: ({ changes, problem }) => (problem ? `The configuration could not be read anew: ${problem.message}` : `The configuration was read anew${changes && `: ${changes}`}`),
  end: () => null,
};

/** The phases that took a noticeable part. */
function parts(phases) {
  const told = Object.entries(phases ?? {}).filter(([, taken]) => taken >= 0.01);
  return told.length > 1 ? ` (${told.map(([name, taken]) => `${name.replaceAll("_", " ")} ${seconds(taken)}`).join(", ")})` : "";
}
