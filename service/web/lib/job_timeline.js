/** The history of jobs, folded from their events in order. */

/** States from which a job does not go on by itself. */
export const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** Return the history of jobs of which only the state is known yet, by their ids; `jobs` are {id, state}. */
export function newHistory(jobs) {
  const unknown = {
    attempt: 0,
    device: null,
    epochs: [],
    pretraining: [],
    checkpoints: 0,
    error: null,
    accuracy: null,
    outcome: null,
  };
  return new Map(jobs.map(({ id, state }) => [id, { id, state, ...unknown }]));
}

/** Fold one event into a history. */
export function take(history, { job_id: id, type, data }) {
  const job = history.get(id);
  if (job === undefined) return;
  const kind = type.replace("job.", "");
  if (kind in STEPS) STEPS[kind](job, data);
  if (STATES.has(kind)) job.state = kind;
}

const STATES = new Set(["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]);

const STEPS = {
  running(job, data) {
    job.attempt = data.attempt;
    job.device = data;
    job.error = null;
  },
  epoch(job, data) {
    job.epochs = [...job.epochs.filter((one) => one.epoch < data.epoch), data];
  },
  pretrain_epoch(job, data) {
    job.pretraining = [...job.pretraining.filter((one) => one.number < data.number), data];
  },
  checkpoint(job) {
    job.checkpoints += 1;
  },
  checkpoint_damaged: forget,
  checkpoint_discarded: forget,
  succeeded(job, data) {
    job.accuracy = data.accuracy;
    job.outcome = data.outcome ?? null;
  },
  failed(job, data) {
    job.error = data.error ?? null;
  },
};

/** A checkpoint is gone: its epoch, and those after it, are trained again. */
function forget(job, data) {
  job.epochs = job.epochs.filter((one) => one.epoch < data.epoch);
}

/**
 * Return the curves of groups of jobs: [{name, epochs, mean, low, high, seeds}] in the order of `members`, each a list of
 * {job_id, name}. `pointsOf` gives a job's points as [epoch, value].
 */
export function curvesOf(history, members, pointsOf) {
  const groups = new Map();
  for (const { job_id: id, name } of members) {
    const jobs = groups.get(name) ?? [];
    groups.set(name, [...jobs, history.get(id)]);
  }
  return [...groups].map(([name, jobs]) => ({ name, ...curveOf(jobs.flatMap(pointsOf)) }));
}

/** Return the first job of each group, as {name, jobId, checkpoints}. */
export function firstsOfGroups(members, history) {
  const first = new Map();
  for (const { name, job_id: jobId } of members) if (!first.has(name)) first.set(name, jobId);
  return [...first].map(([name, jobId]) => ({ name, jobId, checkpoints: history.get(jobId).checkpoints }));
}

function curveOf(points) {
  const byEpoch = new Map();
  for (const [epoch, value] of points) byEpoch.set(epoch, [...(byEpoch.get(epoch) ?? []), value]);
  const epochs = [...byEpoch.keys()].sort((one, other) => one - other);
  const values = epochs.map((epoch) => byEpoch.get(epoch));
  return {
    epochs,
    mean: values.map((all) => all.reduce((sum, one) => sum + one, 0) / all.length),
    low: values.map((all) => Math.min(...all)),
    high: values.map((all) => Math.max(...all)),
    seeds: Math.max(0, ...values.map((all) => all.length)),
  };
}
