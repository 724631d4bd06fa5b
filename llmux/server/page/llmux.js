// What this page knows of llmux: who it is to it, how everything is, and what has happened. Asked for again at each event.
import { useEffect, useState } from "preact/hooks";
import { follow, get } from "./api.js";

const POLL = 5000; // ms, beside the events
const SOON = 100; // ms in which further events are taken together
const LATER = 1000; // the same of requests, of which there may be many
const MOST_HAPPENED = 3000;
const MOST_FINISHED = 200;
const OF_REQUESTS = ["request_queued", "request_admitted", "request_finished"];
const NOTHING = { me: null, status: null, operations: [], requests: [], happened: [], finished: [], live: false, error: null, seen: null, page: null };

/** `attempt` is another number when it is to be asked anew, with another key. */
export function useLlmux(attempt) {
  const [told, setTold] = useState(NOTHING);
  const add = (more) => setTold((before) => ({ ...before, ...more }));
  const observes = may(told.me, "observe");

  useEffect(() => setTold(NOTHING), [attempt]);
  useEffect(() => {
    let over = false;
    let timer = null;
    let due = 0;
    let fresh = [];
    const say = (more) => over || add(more);
    async function look() {
      timer = null;
      const heard = fresh;
      fresh = [];
      if (heard.length && !over) setTold((before) => withHeard(before, heard));
      try {
        const me = await get("/control/whoami");
        setTold((before) => (over ? before : { ...before, me, page: before.page ?? me.llmux.page }));
        if (may(me, "observe")) {
          const [status, { operations }, { requests }] = await Promise.all(
            ["status", "operations", "requests"].map((each) => get(`/control/${each}`)),
          );
          say({ status, operations, requests });
        } else {
          say({ status: null, operations: [], requests: [], live: true });
        }
        say({ error: null, seen: Date.now() });
      } catch (error) {
        say({ error, ...(error.status === 401 ? { me: null, status: null } : {}) });
      }
      lookWithin(POLL);
    }
    function lookWithin(wait) {
      if (over || (timer && due <= Date.now() + wait)) return;
      clearTimeout(timer);
      due = Date.now() + wait;
      timer = setTimeout(look, wait);
    }
    const leave = observes
      ? follow(
          (kind, data) => {
            fresh.push({ kind, ...data });
            lookWithin(OF_REQUESTS.includes(kind) ? LATER : SOON);
          },
          (live) => say({ live }),
        )
      : () => {};
    look();
    return () => {
      over = true;
      leave();
      clearTimeout(timer);
    };
  }, [attempt, observes]);
  return told;
}

/** Say whether somebody has a right. */
export const may = (me, right) => me?.rights.includes(right) ?? false;

function withHeard(before, heard) {
  const finished = heard.filter((each) => each.kind === "request_finished");
  const others = heard.filter((each) => !OF_REQUESTS.includes(each.kind) && each.at);
  return {
    ...before,
    happened: others.length ? [...before.happened, ...others].slice(-MOST_HAPPENED) : before.happened,
    finished: finished.length ? [...finished.reverse(), ...before.finished].slice(0, MOST_FINISHED) : before.finished,
  };
}
