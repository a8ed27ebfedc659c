/** All experiments and all jobs, newest first, page after page, as they go on. */

import { go, keep, link } from "../../lib/address.js";
import { listExperiments, listJobs, streamOfJobs } from "../../lib/api.js";
import { copyAsCurl } from "../../lib/curl.js";
import { button, element, fill, pager, tableOf } from "../../lib/dom.js";
import { specInWords, when } from "../../lib/format.js";
import { ENDED } from "../../lib/job_timeline.js";
import { empty, failure, fillLater } from "../../lib/notices.js";
import { follow } from "../../lib/stream.js";
import { labelsOf } from "../../panels/description.js";
import { jobFilters } from "../../panels/job_filters.js";
import { jobRows } from "../../panels/job_table.js";

const JOBS_A_PAGE = 25;
const EXPERIMENTS_A_PAGE = 10;
const PARAMETERS = ["state", "scheme", "label", "sort", "after"];
const NEWS_GAP_MS = 400;
const RUNNING_GAP_MS = 1000;
const QUIET_GAP_MS = 5000;

/** Open the overview in a container, until `signal` aborts. */
export function openOverview(container, params, signal) {
  const experiments = element("section", { class: "card", "aria-label": "Experiments" });
  const jobs = element("section", { class: "card", "aria-label": "Jobs" });
  fill(container, experiments, jobs);
  openJobs(jobs, params, openExperiments(experiments, params, signal), signal);
}

/** Fill a card with the experiments; returns a function that asks for them again and shows what has changed. */
function openExperiments(card, params, signal) {
  let after = params.get("experiments") ?? "";
  let shown = "";
  const turn = (to) => {
    after = to;
    keep({ experiments: to });
    load();
  };
  const build = (page) => {
    shown = JSON.stringify(page);
    return experimentsOf(page, after, turn);
  };
  const load = () =>
    fillLater(card, "the experiments", signal, () => listExperiments({ limit: EXPERIMENTS_A_PAGE, after }), build);
  load();
  return async () => {
    const asked = after;
    const page = await listExperiments({ limit: EXPERIMENTS_A_PAGE, after });
    if (!signal.aborted && asked === after && shown && JSON.stringify(page) !== shown) fill(card, build(page));
  };
}

function experimentsOf(page, after, turn) {
  const head = element(
    "div",
    { class: "row apart" },
    element("h1", {}, "Experiments"),
    copyAsCurl(() => ({ path: `/experiments${after && `?after=${after}`}` })),
  );
  if (!page.data.length && !after) {
    return [head, empty("No experiment yet.", element("a", { class: "button", href: link("start") }, "Start one"))];
  }
  const rows = page.data.map((one) =>
    element(
      "tr",
      {},
      element(
        "td",
        {},
        element("a", { href: link("watch", { experiment: one.id }) }, one.name),
        element("small", {}, ` ${when(one.created_at)} `),
        labelsOf(one.labels),
      ),
      element(
        "td",
        { "data-head": "Members" },
        Object.entries(one.states).map(([state, count]) =>
          element("span", { class: `state ${state}` }, `${count} ${state} `),
        ),
      ),
      element(
        "td",
        {},
        element(
          "a",
          { href: link("understand", { part: "compare", experiment: one.id }), "aria-label": `Compare ${one.name}` },
          "Compare",
        ),
      ),
    ),
  );
  const pages = element("div", { class: "row" }, pager(page, after, turn));
  return [head, tableOf("Experiments in rows", ["Experiment", "Members", "Result"], rows, { kind: "cards" }), pages];
}

/** Fill a card with the jobs, as they go on; whenever they are asked for, so are the experiments. */
function openJobs(card, params, askExperiments, signal) {
  const state = Object.fromEntries(PARAMETERS.map((name) => [name, params.get(name) ?? ""]));
  const chooser = jobChooser();
  const rows = jobRows("Choose some to watch them together.", () => refresh(), { extra: chooser.tick });
  const place = element("div", { class: "view" });
  const turn = (changes) => {
    Object.assign(state, changes);
    keep(changes);
    refresh();
  };
  const showPage = pageOfJobs(state, rows, place, turn);
  let timer = 0;
  let requests = 0;
  const refreshIn = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(refresh, ms);
  };
  const followOpen = openJobsFollower(() => refreshIn(NEWS_GAP_MS), signal);
  signal.addEventListener("abort", () => clearTimeout(timer));
  async function refresh() {
    const request = ++requests;
    try {
      const page = await listJobs({ ...state, limit: JOBS_A_PAGE });
      if (signal.aborted || request !== requests) return;
      askExperiments().catch(() => {}); // the next time will do
      showPage(page);
      followOpen(page.data.filter((job) => !ENDED.has(job.state)).map(({ id }) => id));
      refreshIn(page.data.some((job) => job.state === "running") ? RUNNING_GAP_MS : QUIET_GAP_MS);
    } catch (error) {
      if (signal.aborted || request !== requests) return;
      if (!place.contains(rows.node)) fill(place, failure(error, refresh));
      refreshIn(QUIET_GAP_MS);
    }
  }
  const filters = jobFilters(state, turn, refresh);
  fill(
    card,
    element(
      "div",
      { class: "row apart" },
      element("h2", {}, "Jobs"),
      copyAsCurl(() => ({
        path: link("jobs", { ...state, limit: JOBS_A_PAGE }).slice(1),
      })),
    ),
    filters.node,
    element("div", { class: "row" }, chooser.watch, filters.remove),
    place,
  );
  refresh();
}

/** Return {tick, watch}: a box for each line, and the button that opens the chosen jobs. */
function jobChooser() {
  const chosen = new Set();
  const watch = button("Watch the chosen ones", () => go("watch", { jobs: [...chosen].join(",") }), { disabled: true });
  const tick = (line) =>
    element("input", {
      type: "checkbox",
      "aria-label": `Choose ${line.name}`,
      checked: chosen.has(line.id),
      onchange: (event) => {
        chosen[event.target.checked ? "add" : "delete"](line.id);
        watch.disabled = chosen.size === 0;
      },
    });
  return { tick, watch };
}

/** Return a function that follows jobs by their ids, all in one stream, until it is called with others. */
function openJobsFollower(onEvents, signal) {
  let followed = { key: "", stop: new AbortController() };
  signal.addEventListener("abort", () => followed.stop.abort());
  return (ids) => {
    const key = ids.join(",");
    if (key === followed.key) return;
    followed.stop.abort();
    followed = { key, stop: new AbortController() };
    if (ids.length === 0) return;
    const { signal: stop } = followed.stop;
    follow((lastId, aborted) => streamOfJobs(ids, lastId, aborted), {
      onEvents,
      onState: () => {},
      signal: stop,
    }).catch(() => {});
  };
}

/** Return a function that shows a page of jobs in a place. */
function pageOfJobs(state, rows, place, turn) {
  const pages = element("div", { class: "row" });
  return (page) => {
    if (page.data.length === 0 && !state.after) {
      const isFiltered = state.state || state.scheme || state.label;
      const text = isFiltered ? "No job is like that." : "No job yet.";
      fill(place, empty(text, element("a", { class: "button", href: link("start") }, "Start some")));
      return;
    }
    rows.show(page.data.map(lineOf));
    if (!place.contains(rows.node)) fill(place, rows.node, pages);
    const pageKey = `${state.after} ${page.next}`;
    if (pages.dataset.key === pageKey) return;
    pages.dataset.key = pageKey;
    fill(
      pages,
      pager(page, state.after, (after) => turn({ after }), state.sort ? { first: "First", next: "Next" } : {}),
    );
  };
}

/** Return a job of the API as a line of the table. */
function lineOf(job) {
  return {
    id: job.id,
    name: job.name ?? specInWords(job.spec),
    labels: job.labels,
    state: job.state,
    attempt: job.attempt,
    epoch: job.epoch,
    epochs: job.spec.epochs,
    progress: job.progress,
    loss: job.loss,
    accuracy: job.accuracy,
    error: job.error,
  };
}
