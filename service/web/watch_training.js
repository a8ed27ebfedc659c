/** One experiment, or some jobs, as they train: states, curves and layers, from one stream of events. */

import { keep, link } from "./address.js";
import { cancelExperiment, getExperiment, getJob, listJobs, streamOfExperiment, streamOfJobs } from "./api.js";
import { copyAsCurl } from "./curl.js";
import { curvesPanel } from "./curves.js";
import { button, element, fill } from "./dom.js";
import { counted, layers, when } from "./format.js";
import { jobRows } from "./job_rows.js";
import { layerMaps } from "./layer_maps.js";
import { act, failure, fillLater } from "./notices.js";
import { ENDED, newHistory, take } from "./run_history.js";
import { follow } from "./stream.js";

const DRAW_GAP_MS = 250;
const PROGRESS_GAP_MS = 1000;
const ROWS_AT_FIRST = 16;
const LIVE = { live: "Live.", lost: "The connection is lost; it is tried again.", ended: "All have ended." };

/** Open the view in a container; `signal` aborts when it is left. */
export function openTraining(container, { experiment, jobs }, params, signal) {
    fillLater(container, experiment ? "the experiment" : "the jobs", signal, async () => {
        const shown = experiment ? await ofExperiment(experiment) : await ofJobs(jobs);
        return page(shown, params, signal);
    });
}

async function ofExperiment(id) {
    const found = await getExperiment(id);
    const first = await getJob(found.members[0].job_id);
    return {
        title: found.recipe ? `Recipe ${found.recipe}` : `Experiment of ${when(found.created_at)}`,
        experiment: found,
        members: found.members,
        epochs: new Map(),
        usualEpochs: first.spec.epochs,
        network: layers(first.spec.architecture.hidden),
        path: `/experiments/${id}`,
        stream: (lastId, signal) => streamOfExperiment(id, lastId, signal),
    };
}

async function ofJobs(ids) {
    const jobs = await Promise.all(ids.map(getJob));
    const networks = new Set(jobs.map((job) => layers(job.spec.architecture.hidden)));
    const nameOf = ({ spec }) => (networks.size > 1 ? `${spec.init.scheme}, ${layers(spec.architecture.hidden)}` : spec.init.scheme);
    return {
        title: jobs.length === 1 ? `Job ${nameOf(jobs[0])}, seed ${jobs[0].spec.seed}` : counted(jobs.length, "job"),
        experiment: null,
        members: jobs.map((job) => ({ job_id: job.id, seed: job.spec.seed, name: nameOf(job) })),
        epochs: new Map(jobs.map((job) => [job.id, job.spec.epochs])),
        usualEpochs: jobs[0].spec.epochs,
        network: [...networks].join(", "),
        path: `/events?job=${ids.join(",")}`,
        stream: (lastId, signal) => streamOfJobs(ids, lastId, signal),
    };
}

function page(shown, params, signal) {
    const history = newHistory(shown.members.map((one) => one.job_id));
    const curves = curvesPanel();
    const maps = layerMaps(params, signal);
    const status = element("span", { class: "faint", role: "status" }, "Connecting …");
    const device = element("p", { class: "faint" });
    const progress = new Map();
    const isAll = { value: params.get("rows") === "all" || shown.members.length <= ROWS_AT_FIRST };
    const rows = jobRows(`${shown.network}. Loss: of the last epoch, mean.`, (id, job) => {
        history.get(id).state = job.state;
        soon();
    });
    const expand = button(`Show all ${shown.members.length} models`, () => {
        isAll.value = true;
        keep({ rows: "all" });
        expand.hidden = true;
        soon();
    }, { class: "quiet", hidden: isAll.value });
    let timer = null;
    const soon = () => {
        timer ??= setTimeout(() => {
            timer = null;
            if (!signal.aborted) showAll();
        }, DRAW_GAP_MS);
    };
    function showAll() {
        const members = isAll.value ? shown.members : shown.members.slice(0, ROWS_AT_FIRST);
        rows.show(members.map((member) => lineOf(member, history.get(member.job_id), progress, shown)));
        curves.show(history, shown.members);
        maps.show(groupsOf(shown.members, history));
        device.textContent = deviceOf(history);
        cancelAll.hidden = shown.experiment === null || [...history.values()].every((job) => ENDED.has(job.state));
    }
    const cancelAll = button("Cancel all", (event) => act(event, () => cancelExperiment(shown.experiment.id), "All members are cancelled."), { class: "quiet" });
    const head = element(
        "div",
        { class: "row apart" },
        element("h1", {}, shown.title),
        element(
            "span",
            { class: "row" },
            status,
            shown.experiment && element("a", { class: "button", href: link("understand", { part: "compare", experiment: shown.experiment.id }) }, "Compare"),
            cancelAll,
            copyAsCurl(() => ({ path: `${shown.path}${shown.experiment ? "/events" : ""}`, accept: "text/event-stream" })),
        ),
    );
    const problem = element("div");
    follow(shown.stream, {
        onEvents: (events) => {
            for (const event of events) take(history, event);
            soon();
        },
        onState: (state) => {
            status.textContent = LIVE[state];
        },
        signal,
    }).catch((error) => fill(problem, failure(error)));
    followProgress(history, progress, soon, signal);
    showAll();
    return [
        element("section", { class: "card", "aria-label": "Jobs" }, head, problem, rows.node, expand, device),
        element("section", { class: "card", "aria-label": "Curves" }, element("h2", {}, "How they learn"), curves.node),
        element("section", { class: "card", "aria-label": "Layers" }, element("h2", {}, "What happens in the layers"), element("p", { class: "faint" }, "Of the first seed of each group."), maps.node),
    ];
}

function lineOf(member, job, progress, shown) {
    const last = job.epochs.at(-1);
    return {
        id: member.job_id,
        name: `${member.name}, seed ${member.seed}`,
        state: job.state,
        epoch: last?.epoch ?? 0,
        epochs: shown.epochs.get(member.job_id) ?? shown.usualEpochs,
        progress: job.state === "running" ? (progress.get(member.job_id) ?? null) : null,
        loss: last?.train_loss_mean ?? null,
        accuracy: job.accuracy ?? last?.test_accuracy ?? null,
        error: job.state === "failed" ? job.error : null,
    };
}

/** Return the first job of each group, as `layerMaps` wants it. */
function groupsOf(members, history) {
    const first = new Map();
    for (const { name, job_id: jobId } of members) if (!first.has(name)) first.set(name, jobId);
    return [...first].map(([name, jobId]) => ({ name, jobId, checkpoints: history.get(jobId).checkpoints }));
}

function deviceOf(history) {
    const found = [...history.values()].map((job) => job.device).filter(Boolean);
    const said = new Set(found.map((one) => `${one.device_name}, ${counted(one.threads, "thread")}, engine ${one.engine}, ${one.precision}, torch ${one.torch}, data ${one.data}`));
    return said.size ? `Trained on: ${[...said].join("; ")}.` : "";
}

/** Ask once a second how far the running jobs are within their epochs; events tell only of whole ones. */
async function followProgress(history, progress, soon, signal) {
    while (!signal.aborted) {
        await new Promise((resolve) => setTimeout(resolve, PROGRESS_GAP_MS));
        if (signal.aborted || ![...history.values()].some((job) => job.state === "running")) continue;
        const running = await listJobs({ state: "running", limit: 100 }).catch(() => ({ data: [] }));
        for (const job of running.data) progress.set(job.id, job.progress);
        soon();
    }
}
