/** A table of jobs with their actions; a row keeps its elements while its content changes. */

import { link } from "../lib/address.js";
import { cancelJob, pauseJob, resumeJob, retryJob } from "../lib/api.js";
import { button, element, fill, tableOf } from "../lib/dom.js";
import { duration, number, percent } from "../lib/format.js";
import { ENDED } from "../lib/job_timeline.js";
import { act } from "../lib/notices.js";
import { labelsOf } from "./description.js";

const WISHES = { pause: pauseJob, resume: resumeJob, retry: retryJob, cancel: cancelJob };
const TITLES = { pause: "Pause", resume: "Resume", retry: "Retry", cancel: "Cancel" };
const POSSIBLE = {
  queued: ["pause", "cancel"],
  running: ["pause", "cancel"],
  pausing: ["cancel"],
  paused: ["resume", "cancel"],
  failed: ["retry"],
};
const OUTCOMES = {
  learned: { words: "learned", kind: "learned" },
  overfits: { words: "learned, overfits", kind: "doubtful" },
  learned_little: { words: "learned little", kind: "doubtful" },
  did_not_learn: { words: "did not learn", kind: "poor" },
  untrained: { words: "not trained", kind: "doubtful" },
};
const HEADS = ["Model", "State", "Progress", "Loss (nats)", "Accuracy", "Actions"];

/**
 * Return {node, show}. `show(lines)` takes [{id, name, labels, state, attempt, epoch, epochs, progress, loss, accuracy, error, outcome}];
 * `acted()` is called when somebody has cancelled, paused, resumed or retried one. `extra(line)` returns a node before a row's name.
 */
export function jobRows(caption, acted, { extra = () => null } = {}) {
  const rows = new Map();
  const body = element("tbody");
  const node = tableOf("Jobs in rows", HEADS, body, {
    caption,
    kind: "cards",
    figures: /Loss|Accuracy/,
  });
  function show(lines) {
    for (const line of lines) {
      if (!rows.has(line.id)) rows.set(line.id, row(line, acted, extra));
      rows.get(line.id).update(line);
    }
    const wanted = lines.map(({ id }) => rows.get(id).node);
    const isSame =
      wanted.length === body.children.length && wanted.every((node, index) => body.children[index] === node);
    if (!isSame) body.replaceChildren(...wanted);
    for (const id of rows.keys()) if (!lines.some((line) => line.id === id)) rows.delete(id);
  }
  return { node, show };
}

function row(first, acted, extra) {
  const state = element("td", { "data-head": "State" });
  const progress = element("td", { "data-head": "Progress" });
  const loss = element("td", { class: "figure", "data-head": "Loss" });
  const accuracy = element("td", { class: "figure", "data-head": "Accuracy" });
  const actions = element("td");
  const named = element("a", { href: link("watch", { jobs: first.id }) });
  const labels = element("span", { class: "row" });
  const name = element("td", {}, element("span", { class: "row" }, extra(first), named, labels));
  const node = element("tr", {}, name, state, progress, loss, accuracy, actions);
  let shown = "";
  let bar = null;
  return {
    node,
    update(line) {
      loss.textContent = number(line.loss);
      accuracy.textContent = percent(line.accuracy);
      bar = showProgress(progress, bar, line);
      const now = JSON.stringify([line.state, line.error, line.attempt, line.outcome, line.name, line.labels]);
      if (now === shown) return;
      shown = now;
      named.textContent = line.name;
      fill(labels, labelsOf(line.labels ?? {}));
      const again = line.attempt > 1 && element("small", {}, ` attempt ${line.attempt}`);
      fill(state, stateOf(line), again, line.error && whyFailed(line.error), line.outcome && whyEnded(line.outcome));
      showActions(actions, line, acted);
    },
  };
}

/** Return the state of a job. That a training has ended is no success yet: its outcome says what it has come to. */
function stateOf({ state, outcome }) {
  const { words, kind } = OUTCOMES[outcome?.kind] ?? { words: state, kind: "" };
  return element("span", { class: `state ${state} ${kind}` }, words);
}

function whyEnded({ reason, remedy }) {
  return element(
    "details",
    { class: "why" },
    element("summary", {}, "Why?"),
    element("p", {}, reason),
    remedy && element("p", {}, element("strong", {}, "What helps: "), remedy),
  );
}

function whyFailed({ detail, hint }) {
  return element("p", { class: "refused" }, `${detail} `, hint && element("span", {}, hint));
}

function showActions(cell, { id, name, state }, acted) {
  const hadFocus = cell.contains(document.activeElement);
  const buttons = (POSSIBLE[state] ?? []).map((wish) =>
    button(
      TITLES[wish],
      (event) => act(event, () => WISHES[wish](id).then(() => acted()), `${TITLES[wish]}: ${name}.`),
      { class: "quiet small", "aria-label": `${TITLES[wish]} ${name}` },
    ),
  );
  const look =
    state === "succeeded" &&
    element(
      "a",
      { class: "button quiet small", href: link("try", { models: id }), "aria-label": `Try ${name}` },
      "Try",
    );
  fill(cell, element("span", { class: "row" }, buttons, look));
  if (hadFocus) cell.querySelector("button, a")?.focus();
}

/** Show how far a job is: a bar while it trains, words otherwise. Returns the bar, which the next call goes on with. */
function showProgress(cell, bar, { name, state, epoch, epochs, progress }) {
  if (ENDED.has(state) || state === "queued") {
    cell.textContent = state === "queued" ? "waits for a worker" : `${epoch} of ${epochs} epochs`;
    return null;
  }
  const made = bar ?? {
    bar: element("progress", { max: 100, "aria-label": `Progress of ${name}` }),
    text: element("small"),
  };
  if (!bar) fill(cell, made.bar, made.text);
  made.bar.value = progress?.percent ?? (100 * epoch) / Math.max(1, epochs);
  const isUnderWay = progress && state === "running" && progress.phase !== "prepare";
  const phase = { pretrain: `pre-training layer ${progress?.layer}, `, prepare: "preparing, " }[progress?.phase] ?? "";
  const left = isUnderWay ? `, ${duration(progress.time_left_s)} left` : "";
  made.text.textContent = `${phase}epoch ${progress?.epoch ?? epoch} of ${progress?.epochs ?? epochs}${left}`;
  return made;
}
