/** How good a model is, which digits it takes for which, and the pictures of those. */

import { evaluationOf, mistakesOf } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { button, element, fill, scrolled } from "../lib/dom.js";
import { number, percent } from "../lib/format.js";
import { empty, failure, loading } from "../lib/notices.js";

const MISTAKES_A_PAGE = 24;
const DIGITS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/** Load what the panel of a model shows. */
export const loadEvaluation = (model) => evaluationOf(exactly(model));

/** Return the panel of a model's evaluation. */
export function confusionPanel(model, evaluation, _params, signal) {
  const modelId = exactly(model);
  const pictures = element("div", { class: "view", "aria-live": "polite" });
  const { node, press } = matrix(evaluation.confusion_matrix, (label, answer) =>
    showMistakes(pictures, modelId, { label, answer }, signal),
  );
  const showAll = () => {
    press(null);
    showMistakes(pictures, modelId, {}, signal);
  };
  const all = button("All mistakes", showAll, { class: "quiet" });
  showAll();
  return [
    summary(evaluation, modelId),
    element("div", { class: "columns" }, element("div", { class: "view" }, node, element("div", {}, all)), pictures),
  ];
}

/** Return the id of exactly these weights, whatever a name comes to mean meanwhile. */
export function exactly({ job_id: job, epoch }) {
  return `${job}@${epoch}`;
}

/** Return what an evaluation says, in words. */
export function summary(evaluation, modelId) {
  const {
    accuracy,
    accuracy_interval: interval,
    evaluated_on: on,
    n,
    expected_calibration_error: calibration,
  } = evaluation;
  const loss = evaluation.mean_negative_log_likelihood;
  return element(
    "div",
    { class: "row apart" },
    element(
      "p",
      {},
      element("strong", {}, percent(accuracy)),
      ` of ${n.toLocaleString("en")} images right (${on}; 95 % interval ${percent(interval.low)} to ${percent(interval.high)})`,
      loss === null ? "" : `, mean loss ${number(loss)} nats`,
      calibration === null
        ? "."
        : `. Its probabilities are off by ${percent(calibration, 1)} on average (expected calibration error).`,
    ),
    copyAsCurl(() => ({ path: `/models/${modelId}/evaluation` })),
  );
}

function matrix(counts, chosen) {
  const most = Math.max(1, ...counts.flatMap((row, label) => row.filter((_, answer) => answer !== label)));
  const cells = [];
  const press = (pressed) => {
    for (const other of cells) other.setAttribute("aria-pressed", String(other === pressed));
  };
  const cell = (label, answer) => {
    const count = counts[label][answer];
    if (label === answer) return element("td", { class: "right" }, String(count));
    if (count === 0) return element("td", {}, "·");
    const made = button(
      String(count),
      () => {
        press(made);
        chosen(label, answer);
      },
      { "aria-pressed": "false", "aria-label": `${count} times ${label} taken for ${answer}` },
    );
    cells.push(made);
    const node = element("td", { class: "wrong" }, made);
    node.style.setProperty("--share", `${10 + (50 * count) / most}%`);
    return node;
  };
  const head = element(
    "tr",
    {},
    element("td"),
    DIGITS.map((digit) => element("th", { scope: "col" }, String(digit))),
  );
  const rows = DIGITS.map((label) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, String(label)),
      DIGITS.map((answer) => cell(label, answer)),
    ),
  );
  const caption = "Rows: what the digit is. Columns: what the model says. Press a number to see those digits.";
  const table = element(
    "table",
    { class: "confusion" },
    element("caption", {}, caption),
    element("thead", {}, head),
    element("tbody", {}, rows),
  );
  return { node: scrolled("Confusion matrix", "", table), press };
}

async function showMistakes(place, modelId, cell, signal) {
  const title = cell.label === undefined ? "Digits it gets wrong" : `${cell.label} taken for ${cell.answer}`;
  const list = element("div", { class: "mistakes" });
  const more = element("div");
  const key = JSON.stringify(cell);
  place.dataset.cell = key;
  const isOld = () => signal.aborted || place.dataset.cell !== key;
  fill(place, element("h3", {}, title), list, more);
  async function next(after) {
    fill(more, loading("digits"));
    try {
      const page = await mistakesOf(modelId, { ...cell, after, limit: MISTAKES_A_PAGE });
      if (isOld()) return;
      list.append(...page.data.map(mistake));
      const nothing = list.children.length === 0 && empty("There is none.");
      fill(more, nothing, page.has_more && button("More", () => next(page.data.at(-1).index), { class: "quiet" }));
    } catch (error) {
      if (!isOld())
        fill(
          more,
          failure(error, () => next(after)),
        );
    }
  }
  await next(undefined);
}

function mistake({ index, label, answer, probability, image }) {
  const text = `is ${label}, taken for ${answer} (${percent(probability, 0)})`;
  return element(
    "figure",
    {},
    element("img", { class: "pixels", src: image, alt: `Test digit ${index}, ${text}`, width: 84, height: 84 }),
    element("figcaption", {}, text),
  );
}
