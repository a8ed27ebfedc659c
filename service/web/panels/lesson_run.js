/** The run of a step of the lesson: a guess, the training of a few networks, and what came of it. */

import { LEARNED } from "../lessons/steps.js";
import { link } from "../lib/address.js";
import { cancelJob, getJob, listDatasets, streamOfJobs, submitJob } from "../lib/api.js";
import { element, fill, tableOf } from "../lib/dom.js";
import { number, percent } from "../lib/format.js";
import { randomKey } from "../lib/idempotency_key.js";
import { ENDED, newHistory, take } from "../lib/job_timeline.js";
import { failure } from "../lib/notices.js";
import { follow } from "../lib/stream.js";

const EPOCHS_OF_FEW_DIGITS = 15; // of 4,000 images: as many steps as in one of 60,000

/**
 * Return {node, pictures}: what asks for the guess and runs the step, and where its pictures are shown. `keepGuess(isRight)` is told
 * how the guess came out.
 */
export function lessonRun(step, texts, keepGuess, signal) {
  const { page } = texts;
  const own = texts.steps[step.name];
  const place = element("div", { class: "view", "aria-live": "polite" });
  const pictures = element("div", { class: "view" });
  const run = element("button", { disabled: true }, page.run);
  const hint = element("span", { class: "faint" }, page.guessFirst);
  const choices = own.choices ?? [...step.members.map((one) => one.name), page.none];
  const options = choices.map((text, index) =>
    element(
      "label",
      { class: "check" },
      element("input", {
        type: "radio",
        name: "guess",
        value: index,
        required: true,
        oninput: () => {
          run.disabled = false;
          hint.hidden = true;
        },
      }),
      text,
    ),
  );
  const question = own.question ?? page.learnedQuestion(step.members[0].spec.epochs);
  const fieldset = element("fieldset", {}, element("legend", {}, question), options);
  const start = async (event) => {
    event.preventDefault();
    const guess = Number(new FormData(form).get("guess"));
    fieldset.disabled = run.disabled = true; // a guess belongs to one run, and only one goes on
    if (!step.slider) fill(pictures);
    try {
      const jobs = await trained(step, texts, place, signal);
      if (signal.aborted || jobs.some((job) => job.state !== "succeeded")) return;
      showAnswer({ step, texts, choices, guess, jobs, place, keepGuess });
      await showPictures(step, texts, jobs, pictures, signal);
    } catch (error) {
      if (!signal.aborted) fill(place, failure(error));
    } finally {
      fieldset.disabled = run.disabled = false;
      run.textContent = page.again;
    }
  };
  const form = element("form", { onsubmit: start }, fieldset, element("p", { class: "row" }, run, hint));
  if (step.slider) showSlider(step, page, pictures, signal);
  return { node: [form, place], pictures };
}

/** Train the members, show how far they are, and return them as {id, name, accuracy, pretraining} when all have ended. */
async function trained(step, { page }, place, signal) {
  const datasets = await listDatasets();
  const isWhole = datasets.data.find(({ name }) => name === "mnist")?.available;
  const submitted = await submitAll(step, isWhole, signal);
  const ids = submitted.map((job) => job.id);
  const history = newHistory(submitted);
  const show = () =>
    fill(
      place,
      !isWhole && element("p", { class: "faint" }, page.fewDigits),
      tableOf(
        page.network,
        headsOf(step, page),
        submitted.map(({ id, name }) => rowOf(name, history.get(id), step, page)),
        {
          figures: new RegExp(`^(${page.accuracy}|${page.loss})$`),
        },
      ),
    );
  show();
  const onEvents = (events) => {
    for (const event of events) take(history, event);
    show();
  };
  await follow((lastId, whileOpen) => streamOfJobs(ids, lastId, whileOpen), { onEvents, onState() {}, signal });
  for (const id of ids) if (!ENDED.has(history.get(id).state)) history.get(id).state = (await getJob(id)).state;
  return submitted.map(({ id, name }) => ({ ...history.get(id), id, name }));
}

/** Submit the members and return their jobs with their names; if one is refused, or the view is left, cancel those before it. */
async function submitAll(step, isWhole, signal) {
  const submitted = [];
  try {
    for (const { name, spec } of step.members) {
      const body = { ...(isWhole ? spec : onFewDigits(spec)), labels: { lesson: step.name } };
      submitted.push({ ...(await submitJob(body, randomKey())), name });
      signal.throwIfAborted();
    }
    return submitted;
  } catch (error) {
    await Promise.allSettled(submitted.map(({ id }) => cancelJob(id)));
    throw error;
  }
}

/** Return a spec for 5,000 digits: with more epochs, and without records of the layers after each. */
function onFewDigits({ epochs, init, ...spec }) {
  const longer = { ...spec, epochs: epochs * EPOCHS_OF_FEW_DIGITS, diagnostics: false, data: "mnist_5k" };
  if (init?.rbm_epochs) return { ...longer, init: { ...init, rbm_epochs: init.rbm_epochs * EPOCHS_OF_FEW_DIGITS } };
  return init ? { ...longer, init } : longer;
}

const headsOf = (step, page) => [
  page.network,
  page.state,
  step.name === "rbm" ? page.divergence : page.loss,
  page.accuracy,
];

function rowOf(name, job, step, page) {
  const last = job.epochs.at(-1);
  const doing =
    last || !job.pretraining.length ? page.training(last?.epoch ?? 0) : page.pretraining(job.pretraining.length);
  const state = { running: doing, queued: page.waiting, ...page.ended }[job.state] ?? job.state;
  const divergences = some(job.pretraining.map((one) => number(one.reconstruction_kl)));
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, name),
    element("td", {}, element("span", { class: kindOf(job) }, state), job.error && `: ${job.error.detail}`),
    element("td", { class: "figure" }, step.name === "rbm" ? divergences.join(", ") : number(last?.train_loss_mean)),
    element("td", { class: "figure" }, percent(job.accuracy ?? null)),
  );
}

/** Return the class of a state. That a training has ended is no success yet: its accuracy says what it has learned. */
function kindOf({ state, accuracy }) {
  if (state !== "succeeded") return `state ${state}`;
  return accuracy > LEARNED ? "good" : "bad";
}

/** Return at most four of a list, evenly chosen, the first and the last among them. */
function some(values) {
  if (values.length <= 4) return values;
  return [0, 1, 2, 3].map((part) => values[Math.round((part * (values.length - 1)) / 3)]);
}

function showAnswer({ step, texts, choices, guess, jobs, place, keepGuess }) {
  const { page, steps } = texts;
  const right = step.right(jobs);
  keepGuess(guess === right);
  place.append(
    element(
      "p",
      { class: guess === right ? "answer good" : "answer bad" },
      element("strong", {}, guess === right ? page.youWereRight : page.youWereWrong(choices[right])),
    ),
    element("p", {}, steps[step.name].because),
    element("p", {}, element("strong", {}, `${page.exercise}: `), steps[step.name].exercise),
    element("p", {}, element("a", { href: link("watch", { jobs: jobs.map((job) => job.id).join(",") }) }, page.watch)),
  );
}

/** Show the pictures of a run; where they cannot be had, the answer stays and the reason stands in their place. */
async function showPictures(step, texts, jobs, pictures, signal) {
  if (step.slider) return;
  try {
    const { PICTURES } = await import("./lesson_pictures.js");
    if (!signal.aborted) await PICTURES[step.shows](step, texts.page, jobs, pictures, signal);
  } catch (error) {
    const again = () => showPictures(step, texts, jobs, pictures, signal);
    if (!signal.aborted) fill(pictures, failure(error, again));
  }
}

async function showSlider(step, page, pictures, signal) {
  const { scaleSlider } = await import("./lesson_pictures.js");
  if (!signal.aborted) fill(pictures, scaleSlider(step.slider, page, signal));
}
