/** One experiment, or some jobs, as they train: states, curves and layers, from one stream of events. */

import { curvesPanel } from "../../charts/curves.js";
import { layerMaps } from "../../charts/layer_maps.js";
import { keep, link } from "../../lib/address.js";
import {
  cancelExperiment,
  editExperiment,
  editJob,
  getExperiment,
  getJob,
  listJobs,
  streamOfExperiment,
  streamOfJobs,
} from "../../lib/api.js";
import { copyAsCurl } from "../../lib/curl.js";
import { button, element, fill } from "../../lib/dom.js";
import { counted, layers, when } from "../../lib/format.js";
import { ENDED, firstsOfGroups, newHistory, take } from "../../lib/job_timeline.js";
import { act, failure, fillLater } from "../../lib/notices.js";
import { namesOf } from "../../lib/spec_labels.js";
import { follow } from "../../lib/stream.js";
import { descriptionPanel } from "../../panels/description.js";
import { jobRows } from "../../panels/job_table.js";
import { repeatButton } from "../../panels/repeat_button.js";

const DRAW_GAP_MS = 250;
const PROGRESS_GAP_MS = 1000;
const ROWS_AT_FIRST = 16;
const MAX_JOBS = 100; // the limit of one stream
const LIVE = { live: "Live.", lost: "The connection is lost; the page is reconnecting.", ended: "All have ended." };

/** Open the view in a container, until `signal` aborts. */
export function openTraining(container, { experiment, jobs }, params, signal) {
  const load = () => (experiment ? ofExperiment(experiment) : ofJobs(jobs));
  fillLater(container, experiment ? "the experiment" : "the jobs", signal, load, (shown) =>
    page(shown, params, signal),
  );
}

async function ofExperiment(id) {
  const found = await getExperiment(id);
  if (found.members.length === 0) throw new Error("All jobs of this experiment have been deleted.");
  const { spec } = await getJob(found.members[0].job_id);
  return {
    titleOf: ({ name, created_at: created }) => `${name}, ${when(created)}`,
    experiment: found,
    described: found,
    edit: (...change) => editExperiment(id, ...change),
    members: found.members.map((member) => ({
      ...member,
      id: member.job_id,
      epochs: member.label.epochs ?? spec.epochs,
      hidden: member.label["architecture.hidden"] ?? spec.architecture.hidden,
    })),
    gone: [],
    path: `/experiments/${id}/events`,
    stream: (lastId, signal) => streamOfExperiment(id, lastId, signal),
  };
}

async function ofJobs(ids) {
  if (ids.length > MAX_JOBS)
    throw new Error(`${ids.length} jobs are more than can be watched together: choose at most ${MAX_JOBS}.`);
  const asked = await Promise.allSettled(ids.map(getJob));
  const jobs = asked.filter((one) => one.status === "fulfilled").map((one) => one.value);
  const refused = asked.filter((one) => one.status === "rejected").map((one) => one.reason);
  const other = refused.find((error) => error.status !== 404);
  if (other || jobs.length === 0) throw other ?? refused[0];
  const names = namesOf(jobs.map((job) => job.spec));
  const known = jobs.map((job) => job.id);
  return {
    titleOf: (job) =>
      jobs.length === 1 ? (job.name ?? `${names[0]}, seed ${job.spec.seed}`) : counted(jobs.length, "job"),
    experiment: null,
    described: jobs[0],
    edit: jobs.length === 1 ? (...change) => editJob(jobs[0].id, ...change) : null,
    members: jobs.map(({ id, state, spec }, index) => ({
      id,
      job_id: id,
      state,
      seed: spec.seed,
      name: names[index],
      epochs: spec.epochs,
      hidden: spec.architecture.hidden,
    })),
    gone: ids.filter((id) => !known.includes(id)),
    path: `/events?job=${known.join(",")}`,
    stream: (lastId, signal) => streamOfJobs(known, lastId, signal),
  };
}

function page(shown, params, signal) {
  const history = newHistory(shown.members);
  const progress = new Map();
  const curves = curvesPanel(signal);
  const maps = layerMaps(params, signal);
  const device = element("p", { class: "faint" });
  const problem = element("div");
  let timer = null;
  const soon = () => {
    timer ??= setTimeout(() => {
      timer = null;
      if (!signal.aborted) showAll();
    }, DRAW_GAP_MS);
  };
  const head = headOf(shown);
  const stream = streamOf(shown, history, soon, { status: head.status, problem }, signal);
  const rows = jobRows(captionOf(shown.members), stream.followAgain);
  const expand = expander(shown.members, params, soon);
  function showAll() {
    const members = expand.isAll() ? shown.members : shown.members.slice(0, ROWS_AT_FIRST);
    rows.show(members.map((member) => rowOf(member, history.get(member.id), progress)));
    curves.show(history, shown.members);
    maps.show(firstsOfGroups(shown.members, history));
    device.textContent = deviceOf(history);
    const isOpen = [...history.values()].some((job) => !ENDED.has(job.state));
    head.cancelAll.hidden = shown.experiment === null || !isOpen;
  }
  const gone = shown.gone.length > 0 && element("p", { class: "notice" }, `Deleted: ${shown.gone.join(", ")}.`);
  stream.start();
  followProgress(history, progress, soon, signal);
  showAll();
  return [
    element(
      "section",
      { class: "card", "aria-label": "Jobs" },
      head.node,
      gone,
      problem,
      rows.node,
      expand.node,
      device,
    ),
    element("section", { class: "card", "aria-label": "Curves" }, element("h2", {}, "How they learn"), curves.node),
    element(
      "section",
      { class: "card", "aria-label": "Layers" },
      element("h2", {}, "What happens in the layers"),
      element("p", { class: "faint" }, "Of the first seed of each group."),
      maps.node,
    ),
  ];
}

/** Return the title with its buttons: {node, status, cancelAll}. */
function headOf(shown) {
  const status = element("span", { class: "faint", role: "status" }, "Connecting …");
  const cancelAll = button(
    "Cancel all",
    (event) => act(event, () => cancelExperiment(shown.experiment.id), "All members are cancelled."),
    { class: "quiet" },
  );
  const compare =
    shown.experiment &&
    element(
      "a",
      { class: "button", href: link("understand", { part: "compare", experiment: shown.experiment.id }) },
      "Compare",
    );
  const handout =
    shown.experiment &&
    element("a", { class: "button quiet", href: link("handout", { experiment: shown.experiment.id }) }, "Handout");
  const again = shown.experiment && repeatButton(shown.experiment);
  const curl = copyAsCurl(() => ({ path: shown.path, accept: "text/event-stream" }));
  const title = element("h1", {}, shown.titleOf(shown.described));
  const renamed = (now) => {
    title.textContent = shown.titleOf(now);
  };
  const node = element(
    "div",
    {},
    element(
      "div",
      { class: "row apart" },
      title,
      element("span", { class: "row" }, status, compare, handout, again, cancelAll, curl),
    ),
    shown.edit && descriptionPanel(shown.described, shown.edit, renamed),
  );
  return { node, status, cancelAll };
}

/** Return {start, followAgain}: they follow the events of all jobs into `history`. */
function streamOf(shown, history, soon, { status, problem }, signal) {
  const onEvents = (events) => {
    for (const event of events) take(history, event);
    soon();
  };
  const onState = (state) => {
    status.textContent = LIVE[state];
  };
  const followFrom = async (since) => {
    try {
      return await follow(shown.stream, { onEvents, onState, signal, since });
    } catch (error) {
      fill(problem, failure(error));
      return since;
    }
  };
  let followed = Promise.resolve(null);
  const followAgain = () => {
    // A job's state comes from events alone: an answer may arrive after what has happened since. Where a job was retried after all
    // had ended, the stream goes on from its last event.
    followed = followed.then(followFrom);
  };
  return { start: followAgain, followAgain };
}

function captionOf(members) {
  const networks = [...new Set(members.map((member) => layers(member.hidden)))];
  return `${networks.slice(0, 4).join(", ")}${networks.length > 4 ? ", …" : ""}. Loss: of the last epoch, mean.`;
}

/** Return {node, isAll}: a button that shows all rows. */
function expander(members, params, soon) {
  let isAll = params.get("rows") === "all" || members.length <= ROWS_AT_FIRST;
  const node = button(
    `Show all ${members.length} models`,
    () => {
      isAll = true;
      keep({ rows: "all" });
      node.hidden = true;
      soon();
    },
    { class: "quiet", hidden: isAll },
  );
  return { node, isAll: () => isAll };
}

function rowOf(member, job, progress) {
  const last = job.epochs.at(-1);
  return {
    id: member.id,
    name: `${member.name}, seed ${member.seed}`,
    state: job.state,
    attempt: job.attempt,
    epoch: last?.epoch ?? 0,
    epochs: member.epochs,
    progress: job.state === "running" ? (progress.get(member.id) ?? null) : null,
    loss: last?.train_loss_mean ?? null,
    accuracy: job.accuracy ?? last?.test_accuracy ?? null,
    error: job.state === "failed" ? job.error : null,
    outcome: job.state === "succeeded" ? job.outcome : null,
  };
}

function deviceOf(history) {
  const found = [...history.values()].map((job) => job.device).filter(Boolean);
  const said = new Set(
    found.map(
      (one) =>
        `${one.device_name}, ${counted(one.threads, "thread")}, engine ${one.engine}, ${one.precision}, torch ${one.torch}, data ${one.data}`,
    ),
  );
  return said.size ? `Trained on: ${[...said].join("; ")}.` : "";
}

/** Query the progress of running jobs within their epochs once a second; events report whole epochs only. */
async function followProgress(history, progress, soon, signal) {
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, PROGRESS_GAP_MS));
    if (signal.aborted || ![...history.values()].some((job) => job.state === "running")) continue;
    const running = await listJobs({ state: "running", limit: 100 }).catch(() => ({ data: [] }));
    for (const job of running.data) progress.set(job.id, job.progress);
    soon();
  }
}
