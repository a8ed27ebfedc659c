/** An experiment's groups side by side: means with intervals, only the fields that differ, and in words what that shows. */

import { accuracyAxis, chart, draw, errorOf } from "../charts/plotly_chart.js";
import { rateSweep } from "../charts/rate_sweep.js";
import { go, link } from "../lib/address.js";
import { comparisonOf, comparisonTableOf, getExperiment, listExperiments, refineExperiment } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { button, choice, element, field, fill, tableOf } from "../lib/dom.js";
import { saveBlob } from "../lib/download.js";
import { counted, number, percent, when } from "../lib/format.js";
import { act, empty, fillLater } from "../lib/notices.js";
import { keyOf, styleOf } from "../lib/palette.js";
import { shown as inShort } from "../lib/spec_labels.js";

const EXPERIMENTS_SHOWN = 100;
const PAIRS_AT_FIRST = 12;

/** Load what the panel offers to choose from. */
export const loadExperiments = async () => (await listExperiments({ limit: EXPERIMENTS_SHOWN })).data;

/** Return the panel of comparisons; `chosen(id)` is called with the experiment that is shown. */
export function comparisonPanel(experiments, asked, chosen, signal) {
  if (experiments.length === 0 && !asked)
    return empty("No experiment yet.", element("a", { class: "button", href: link("start") }, "Start one"));
  const options = experiments.map((one) => [one.id, `${one.name}, ${when(one.created_at)}`]);
  if (asked && !experiments.some((one) => one.id === asked)) options.unshift([asked, asked]);
  const place = element("div", { class: "view" });
  const load = (id) => Promise.all([getExperiment(id), comparisonOf(id)]);
  const show = (id) =>
    fillLater(
      place,
      "the comparison",
      signal,
      () => load(id),
      (found) => compared(...found, () => show(id)),
    );
  const first = asked || experiments[0].id;
  const select = choice(options, first, (id) => {
    chosen(id);
    show(id);
  });
  show(first);
  return [field("Experiment", select), place];
}

/** Say how many members the comparison counts, where it is not all of them. */
function counting(experiment, again) {
  const { succeeded = 0, ...others } = experiment.states;
  const rest = Object.entries(others).filter(([, count]) => count > 0);
  if (rest.length === 0) return null;
  const text = `${succeeded} of ${counted(experiment.members.length, "member")} ${succeeded === 1 ? "has" : "have"} succeeded and ${succeeded === 1 ? "is" : "are"} compared; ${rest.map(([state, count]) => `${count} ${state}`).join(", ")}.`;
  return element(
    "div",
    { class: "notice" },
    element("p", {}, text),
    !experiment.has_ended && button("Look again", again, { class: "quiet" }),
  );
}

/** Return the comparison of an experiment; `again()` is called to look at it again while members train. */
export function compared(experiment, comparison, again) {
  const { id } = experiment;
  const { groups, pairs, differing_fields: fields, evaluated_on: on, n_images: images } = comparison;
  const watch = element("a", { class: "button quiet", href: link("watch", { experiment: id }) }, "Watch");
  if (groups.length === 0) return [counting(experiment, again), empty("No member has succeeded yet.", watch)];
  const figure = chart(
    "Accuracy by group",
    "Point: mean over the seeds. Bar: 95 % interval of the mean, where there are two seeds or more.",
    "short",
  );
  const all = element("ul", { class: "said-of" });
  const showPairs = (count) => {
    fill(
      all,
      pairs.slice(0, count).map((pair) => element("li", {}, pair.verdict)),
    );
    more.hidden = count >= pairs.length;
  };
  const more = button(`Show all ${pairs.length} pairs`, () => showPairs(pairs.length), { class: "quiet" });
  showPairs(PAIRS_AT_FIRST);
  setTimeout(() => draw(figure, () => intervals(groups)));
  return [
    element(
      "div",
      { class: "row" },
      watch,
      button("Download as CSV", (event) => act(event, async () => saveBlob(await comparisonTableOf(id), `${id}.csv`)), {
        class: "quiet",
      }),
      copyAsCurl(() => ({ path: `/experiments/${id}/comparison` })),
    ),
    counting(experiment, again),
    element("h3", {}, "In words"),
    pairs.length ? all : element("p", {}, whyNoPair(comparison)),
    more,
    table(groups, fields, on, images),
    figure,
    rateSweep(comparison.sweep),
    comparison.sweep.some((one) => one.chosen) && refining(id),
  ];
}

/** Return the button that trains at rates around the best ones, and then shows the new members as they train. */
function refining(id) {
  const refine = async () => {
    await refineExperiment(id);
    go("watch", { experiment: id });
  };
  return element(
    "p",
    { class: "row" },
    button("Refine the rates", (event) => act(event, refine), { class: "quiet" }),
    element("span", { class: "faint" }, "Trains each scheme at two more rates around its best one."),
  );
}

function whyNoPair({ pairs_left_out: leftOut }) {
  return leftOut
    ? `${leftOut.toLocaleString("en")} pairs are too many to compare. Over the API, name a baseline.`
    : "There is only one group with results: nothing to compare it with.";
}

function table(groups, fields, on, images) {
  const heads = ["Group", "Seeds", "Accuracy", "95 % interval", "Last loss (nats)", "Steps to loss < 2", ...fields];
  const rows = groups.map((group, index) => {
    const { mean, low, high } = group.accuracy;
    const steps = group.first_step_below_2.map((one) => one ?? "–");
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, keyOf(index), ` ${group.name}`),
      figureCell(group.seeds.join(", ")),
      figureCell(percent(mean)),
      figureCell(low === null ? "–" : `${percent(Math.max(0, low))} to ${percent(Math.min(1, high))}`),
      figureCell(number(group.final_train_loss?.mean)),
      figureCell([...new Set(steps)].join(", ")),
      fields.map((name) => figureCell(shown(group.label[name]))),
    );
  });
  const caption = on
    ? `On ${images.toLocaleString("en")} images of ${on}. Only fields that differ between specs are listed. Intervals end at 0 and 100 %.`
    : "Evaluated on different images.";
  return tableOf("Groups in rows", heads, rows, { caption });
}

function figureCell(text) {
  return element("td", { class: "figure" }, text);
}

function shown(value) {
  if (value === null || value === undefined) return "–";
  return inShort(value);
}

function intervals(groups) {
  const traces = groups.flatMap((group, index) => {
    const { colour, marker } = styleOf(index);
    const { mean, low, high } = group.accuracy;
    const point = {
      x: [errorOf(mean)],
      y: [group.name],
      text: [percent(mean)],
      hovertemplate: "%{text}",
      mode: "markers",
      marker: { color: colour, symbol: marker, size: 10 },
      name: group.name,
    };
    if (low === null) return [point];
    const bar = {
      x: [errorOf(low), errorOf(high)],
      y: [group.name, group.name],
      mode: "lines",
      line: { color: colour, width: 3 },
      hoverinfo: "skip",
    };
    return [bar, point];
  });
  return {
    traces,
    layout: {
      xaxis: accuracyAxis(
        groups.flatMap(({ accuracy: { mean, low, high } }) => [mean, low ?? mean, high ?? mean].map(errorOf)),
      ),
      yaxis: { autorange: "reversed", type: "category" },
      showlegend: false,
    },
    table: {
      columns: ["group", "accuracy, mean", "interval, low", "interval, high", "seeds"],
      rows: groups.map(({ name, accuracy, seeds }) => [name, accuracy.mean, accuracy.low, accuracy.high, seeds.length]),
    },
    summary: groups.map((group) => `${group.name} ${percent(group.accuracy.mean)}`).join("; "),
  };
}
