/** What happens in every layer, epoch by epoch, side by side for groups: as heat maps, or as ridgelines. */

import { keep } from "../lib/address.js";
import { diagnosticsOf, everyPage } from "../lib/api.js";
import { choice, element, field, fill } from "../lib/dom.js";
import { number, tick } from "../lib/format.js";
import { failure } from "../lib/notices.js";
import { faded, inkOf, styleOf } from "../lib/palette.js";
import { chart, draw, logAxis } from "./plotly_chart.js";

const MEASURES = {
  a_rms: { title: "activation, rms", unit: "no unit", isLog: true },
  dz_rms: { title: "gradient of the loss by z, rms", unit: "nats", isLog: true },
  dead_fraction: { title: "dead units", unit: "share", isLog: false },
  saturated_fraction: { title: "saturated units", unit: "share", isLog: false },
  update_ratio: { title: "update ratio: step over weight", unit: "no unit", isLog: true },
};
const NOTES = {
  dead_fraction: "ReLU units that answer 0 to each of 512 training images.",
  saturated_fraction:
    "Activations near their limits: tanh, scaled_tanh and softsign past ±0.95 of their limit, sigmoid outside of 0.05 to 0.95.",
  update_ratio: "|W − W before| / |W before|, since the record before.",
};
const MAX_MAPS = 6;
const MIN_GAP_MS = 1500;
const MAX_DECADES = 6; // smaller values are drawn at the lower end

const MAX_RECORDS = 2000;
const everyRecord = (jobId) => everyPage((query) => diagnosticsOf(jobId, query), {}, MAX_RECORDS);

/** Return {node, show}; `show(groups)` takes [{name, jobId, checkpoints}] and asks again for those with more checkpoints. */
export function layerMaps(params, signal) {
  const state = {
    measure: params.get("measure") ?? "a_rms",
    form: params.get("form") ?? "map",
    groups: [],
    records: new Map(),
  };
  if (!Object.hasOwn(MEASURES, state.measure)) state.measure = "a_rms";
  const figures = new Map();
  const place = element("div", { class: "charts" });
  const note = element("p", { class: "faint" });
  const more = element("p", { class: "faint" });
  const drawAll = () => drawMaps(state, figures, place, note);
  let askedAt = 0;
  let waiting = null;
  async function ask() {
    waiting = null;
    const stale = state.groups.filter(
      ({ jobId, checkpoints }) => (state.records.get(jobId)?.checkpoints ?? 0) < checkpoints,
    );
    if (signal.aborted || stale.length === 0) return drawAll();
    askedAt = Date.now();
    try {
      await Promise.all(
        stale.map(async ({ jobId, checkpoints }) =>
          state.records.set(jobId, { checkpoints, epochs: await everyRecord(jobId) }),
        ),
      );
      if (!signal.aborted) drawAll();
    } catch (error) {
      if (!signal.aborted) fill(note, failure(error, ask));
    }
  }
  function show(all) {
    const groups = all.slice(0, MAX_MAPS);
    if (JSON.stringify(groups) === JSON.stringify(state.groups)) return;
    state.groups = groups;
    more.textContent = all.length > MAX_MAPS ? `The first ${MAX_MAPS} of ${all.length} groups are shown.` : "";
    waiting ??= setTimeout(ask, Math.max(0, MIN_GAP_MS - (Date.now() - askedAt)));
  }
  return { node: element("div", { class: "view" }, controlsOf(state, drawAll), note, place, more), show };
}

function controlsOf(state, drawAll) {
  const set = (name) => (value) => {
    state[name] = value;
    keep({ measure: state.measure === "a_rms" ? null : state.measure, form: state.form === "map" ? null : state.form });
    drawAll();
  };
  const forms = choice(
    [
      ["map", "heat maps"],
      ["ridges", "ridgelines"],
    ],
    state.form,
    set("form"),
  );
  const measures = choice(
    Object.entries(MEASURES).map(([name, { title }]) => [name, title]),
    state.measure,
    set("measure"),
  );
  return element("div", { class: "row" }, field("What", measures), field("As", forms));
}

/** Draw a chart for each group of which something is recorded; say why there is none. */
function drawMaps({ measure, form, groups, records }, figures, place, note) {
  const { title, unit, isLog } = MEASURES[measure];
  const known = groups
    .map((group, index) => ({ ...group, index, epochs: records.get(group.jobId)?.epochs ?? [] }))
    .filter(({ epochs }) => epochs.length);
  const grids = known.map(({ epochs }) => gridOf(epochs, measure));
  const all = grids.flat(2).filter((value) => value !== null);
  note.textContent = all.length ? noteOf(measure, all) : whyNothing(measure, known, records);
  if (all.length === 0) return void fill(place);
  const range = rangeOf(all, isLog);
  const charts = known.map((group, row) => {
    const key = `${group.name}: ${title} (${unit})`;
    const figure = figures.get(key) ?? chart(key, null, "short");
    figures.set(key, figure);
    return [figure, () => (form === "map" ? heatMap : ridges)(grids[row], group, range, measure)];
  });
  if (charts.some(([figure], index) => place.children[index] !== figure) || place.children.length !== charts.length) {
    fill(
      place,
      charts.map(([figure]) => figure),
    );
  }
  for (const [figure, make] of charts) draw(figure, make);
  return undefined;
}

function noteOf(measure, values) {
  const zeros = values.includes(-Infinity) ? " Blank: exactly 0." : "";
  const clipped = MEASURES[measure].isLog
    ? " What is less than a millionth of the largest value is drawn as the least."
    : "";
  return `${NOTES[measure] ?? ""}${zeros}${clipped}`;
}

function whyNothing(measure, known, records) {
  if (known.length === 0)
    return records.size
      ? "These jobs record no layers (diagnostics: false)."
      : "Nothing is recorded yet: the first record comes with the first checkpoint.";
  if (known.every((one) => one.epochs.length < 2) && measure === "update_ratio")
    return "No weight has changed yet: the first epoch is not over.";
  if (measure === "dead_fraction") return "Only ReLU units can be dead; these networks have other activations.";
  return "The activations of these networks do not saturate.";
}

/** Return the values of a measure as [layer][epoch], to the last layer that has it; logarithms to base 10 (of 0: -Infinity) where it is so drawn. */
function gridOf(epochs, measure) {
  const read = MEASURES[measure].isLog ? (value) => (value === null ? null : Math.log10(value)) : (value) => value;
  const grid = epochs[0].layers.map((_, layer) => epochs.map((one) => read(one.layers[layer]?.[measure] ?? null)));
  while (grid.length && grid.at(-1).every((value) => value === null)) grid.pop();
  return grid;
}

/** @returns {[number, number]} */
function rangeOf(values, isLog) {
  const finite = values.filter(Number.isFinite);
  const high = Math.max(...finite, isLog ? -MAX_DECADES : 0);
  return [Math.max(Math.min(...finite, high), isLog ? high - MAX_DECADES : -Infinity), high];
}

function ticksOf([low, high], isLog) {
  if (!isLog) return {};
  const { tickvals } = logAxis("", [10 ** low, 10 ** high]);
  const inside = tickvals.filter((value) => value >= 10 ** low && value <= 10 ** high);
  return { tickvals: inside.map(Math.log10), ticktext: inside.map(tick) };
}

function heatMap(grid, { epochs }, range, measure) {
  const { isLog, unit } = MEASURES[measure];
  const traces = [
    {
      type: "heatmap",
      x: epochs.map((one) => one.epoch),
      y: grid.map((_, layer) => layer + 1),
      z: grid.map((row) => row.map((value) => (Number.isFinite(value) ? Math.max(value, range[0]) : null))),
      customdata: grid.map((row) => row.map((value) => (value === null ? "–" : number(isLog ? 10 ** value : value)))),
      hovertemplate: "layer %{y}, epoch %{x}: %{customdata}<extra></extra>",
      colorscale: "Cividis",
      zmin: range[0],
      zmax: range[1] > range[0] ? range[1] : range[0] + 1,
      colorbar: { thickness: 12, title: { text: unit, font: { size: 11 } }, ...ticksOf(range, isLog) },
    },
  ];
  return {
    traces,
    layout: { ...axes(epochs, grid.length), showlegend: false },
    table: tableOf(grid, epochs, measure),
    summary: summaryOf(grid, isLog),
  };
}

/** One line per layer on its own baseline; its height is the value within the range of all groups. */
function ridges(grid, { index, epochs }, [low, high], measure) {
  const { colour } = styleOf(index);
  const x = epochs.map((one) => one.epoch);
  const height = (value) => (value === null ? 0 : (0.9 * (Math.max(value, low) - low)) / (high - low || 1));
  const { isLog } = MEASURES[measure];
  const traces = grid.flatMap((row, layer) => [
    { x, y: x.map(() => layer + 1), mode: "lines", line: { width: 1, color: inkOf("line") }, hoverinfo: "skip" },
    {
      x,
      y: row.map((value) => layer + 1 + height(value)),
      customdata: row.map((value) => (value === null ? "–" : number(isLog ? 10 ** value : value))),
      hovertemplate: `layer ${layer + 1}, epoch %{x}: %{customdata}<extra></extra>`,
      mode: epochs.length > 40 ? "lines" : "lines+markers",
      marker: { size: 4, color: colour },
      line: { color: colour, width: 1.5 },
      fill: "tonexty",
      fillcolor: faded(colour, 0.25),
    },
  ]);
  return {
    traces,
    layout: { ...axes(epochs, grid.length), showlegend: false },
    table: tableOf(grid, epochs, measure),
    summary: summaryOf(grid, isLog),
  };
}

/** Return the values of a grid as they were recorded. */
function tableOf(grid, epochs, measure) {
  const { title, unit, isLog } = MEASURES[measure];
  const recorded = (value) => (value === null || !isLog ? value : 10 ** value);
  return {
    columns: ["layer", "epoch", `${title} (${unit})`],
    rows: grid.flatMap((row, layer) => row.map((value, index) => [layer + 1, epochs[index].epoch, recorded(value)])),
  };
}

function axes(epochs, layers) {
  const last = epochs.at(-1).epoch;
  return {
    xaxis: { title: { text: "epoch (0: before training)" }, dtick: last <= 15 ? 1 : undefined },
    yaxis: { title: { text: "layer" }, dtick: layers > 12 ? 5 : 1, zeroline: false },
  };
}

function summaryOf(grid, isLog) {
  const shown = (value) => (value === null ? "none" : number(isLog ? 10 ** value : value));
  return grid
    .map((row, layer) => `layer ${layer + 1}: ${shown(row[0])} at first, ${shown(row.at(-1))} at last`)
    .join("; ");
}
