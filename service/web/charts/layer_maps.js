/** What happens in every layer, epoch by epoch, side by side for groups: as heat maps, or as ridgelines. */

import { keep } from "../lib/address.js";
import { diagnosticsOf } from "../lib/api.js";
import { chart, draw, logAxis } from "./plotly_chart.js";
import { choice, element, field, fill } from "../lib/dom.js";
import { number, tick } from "../lib/format.js";
import { failure } from "../lib/notices.js";
import { faded, inkOf, styleOf } from "../lib/palette.js";

const MEASURES = {
  a_rms: { title: "activation, rms", unit: "no unit", isLog: true },
  dz_rms: { title: "gradient of the loss by z, rms", unit: "nats", isLog: true },
  dead_fraction: { title: "dead units", unit: "share", isLog: false },
  saturated_fraction: { title: "saturated units", unit: "share", isLog: false },
  update_ratio: { title: "update ratio: step over weight", unit: "no unit", isLog: true },
};
const NOTES = {
  dead_fraction: "ReLU units that answer 0 to each of 512 training images.",
  saturated_fraction: "Activations near their limits: tanh and softsign past ±0.95, sigmoid outside of 0.05 to 0.95.",
  update_ratio: "|W − W before| / |W before|, since the record before.",
};
const MAX_MAPS = 6;
const MIN_GAP_MS = 1500;
const MAX_DECADES = 6; // what is smaller than the largest by more is drawn as if it were at the lower end

/** Return {node, show}; `show(groups)` takes [{name, jobId, checkpoints}] and asks anew for those with more checkpoints. */
export function layerMaps(params, signal) {
  const state = { measure: params.get("measure") ?? "a_rms", form: params.get("form") ?? "map" };
  if (!Object.hasOwn(MEASURES, state.measure)) state.measure = "a_rms";
  const records = new Map();
  const figures = new Map();
  const place = element("div", { class: "charts" });
  const note = element("p", { class: "faint" });
  const more = element("p", { class: "faint" });
  let groups = [];
  let askedAt = 0;
  let waiting = null;
  const set = (name) => (value) => {
    state[name] = value;
    keep({ measure: state.measure === "a_rms" ? null : state.measure, form: state.form === "map" ? null : state.form });
    drawAll();
  };
  async function ask() {
    waiting = null;
    const stale = groups.filter(({ jobId, checkpoints }) => (records.get(jobId)?.checkpoints ?? 0) < checkpoints);
    if (signal.aborted || stale.length === 0) return drawAll();
    askedAt = Date.now();
    try {
      await Promise.all(
        stale.map(async ({ jobId, checkpoints }) => records.set(jobId, { checkpoints, epochs: (await diagnosticsOf(jobId)).data })),
      );
      if (!signal.aborted) drawAll();
    } catch (error) {
      if (!signal.aborted) fill(note, failure(error, ask));
    }
  }
  function show(all) {
    const now = all.slice(0, MAX_MAPS);
    if (JSON.stringify(now) === JSON.stringify(groups)) return;
    groups = now;
    more.textContent = all.length > MAX_MAPS ? `The first ${MAX_MAPS} of ${all.length} groups are shown.` : "";
    waiting ??= setTimeout(ask, Math.max(0, MIN_GAP_MS - (Date.now() - askedAt)));
  }
  function drawAll() {
    const { title, unit } = MEASURES[state.measure];
    const known = groups.map((one, index) => ({ ...one, index, epochs: records.get(one.jobId)?.epochs ?? [] })).filter((one) => one.epochs.length);
    const grids = known.map((one) => gridOf(one.epochs, state.measure));
    const all = grids.flat(2).filter((value) => value !== null);
    note.textContent = all.length ? noteOf(state.measure, all) : whyNothing(state.measure, known, records);
    if (all.length === 0) return void fill(place);
    const range = rangeOf(all, MEASURES[state.measure].isLog);
    const made = known.map((one, row) => {
      const key = `${one.name}: ${title} (${unit})`;
      const figure = figures.get(key) ?? chart(key, null, "short");
      figures.set(key, figure);
      return [figure, () => (state.form === "map" ? heatMap : ridges)(grids[row], one, range, state.measure)];
    });
    if (made.some(([figure], index) => place.children[index] !== figure) || place.children.length !== made.length) {
      fill(place, made.map(([figure]) => figure));
    }
    for (const [figure, make] of made) draw(figure, make);
  }
  const forms = choice([["map", "heat maps"], ["ridges", "ridgelines"]], state.form, set("form"));
  const measures = choice(Object.entries(MEASURES).map(([name, one]) => [name, one.title]), state.measure, set("measure"));
  const controls = element("div", { class: "row" }, field("What", measures), field("As", forms));
  return { node: element("div", { class: "view" }, controls, note, place, more), show };
}

function noteOf(measure, values) {
  const zeros = values.includes(-Infinity) ? " Blank: exactly 0." : "";
  const clipped = MEASURES[measure].isLog ? " What is less than a millionth of the largest value is drawn as the least." : "";
  return `${NOTES[measure] ?? ""}${zeros}${clipped}`;
}

function whyNothing(measure, known, records) {
  if (known.length === 0) return records.size ? "These jobs record no layers (diagnostics: false)." : "Nothing is recorded yet: the first record comes with the first checkpoint.";
  if (known.every((one) => one.epochs.length < 2) && measure === "update_ratio") return "Nothing has moved yet: this needs an epoch.";
  if (measure === "dead_fraction") return "Only units of ReLU can be dead; these networks have other activations.";
  return "These networks' activations have no ends to saturate at.";
}

/** Return the values of a measure as [layer][epoch], of layers that have it; logarithms to base 10 (of 0: -Infinity) where it is so drawn. */
function gridOf(epochs, measure) {
  const read = MEASURES[measure].isLog ? (value) => (value === null ? null : Math.log10(value)) : (value) => value;
  const grid = epochs[0].layers.map((_, layer) => epochs.map((one) => read(one.layers[layer]?.[measure] ?? null)));
  return grid.filter((row) => row.some((value) => value !== null));
}

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
  return { traces, layout: { ...axes(epochs, grid.length), showlegend: false }, summary: summaryOf(grid, isLog) };
}

/** One line a layer, each on its own ground, as high as the value lies within the range of all groups. */
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
  return { traces, layout: { ...axes(epochs, grid.length), showlegend: false }, summary: summaryOf(grid, isLog) };
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
  return grid.map((row, layer) => `layer ${layer + 1}: ${shown(row[0])} at first, ${shown(row.at(-1))} at last`).join("; ");
}
