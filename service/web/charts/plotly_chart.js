/** Charts, drawn by Plotly, which is loaded when the first one is needed. */

import { button, element, fill } from "../lib/dom.js";
import { tick } from "../lib/format.js";
import { act } from "../lib/notices.js";
import { inkOf, keyOf } from "../lib/palette.js";

const CONFIG = { displayModeBar: false, doubleClick: "reset" };
const drawn = new Map();
/** A plot changes its size with the window, and also when another plot comes to stand next to it. */
const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) if (contentRect.width > 0) globalThis.Plotly.Plots.resize(target);
});
const waiting = new Set();
let queue = Promise.resolve();
let plotly = null;

/**
 * Return an empty chart: a figure with a name for screen readers and, below it, what its lines mean. Draw into it by
 * `draw`.
 */
export function chart(name, note = null, kind = "") {
  const plot = element("div", { class: `plot ${kind}`, role: "img", "aria-label": name });
  const legend = element("p", { class: "legend" });
  return element(
    "figure",
    { class: "chart" },
    element("h3", {}, name),
    legend,
    plot,
    note && element("figcaption", {}, note),
    savers(name, plot),
  );
}

/** Return the buttons that save a chart as a file; they are shown once it is drawn. */
function savers(name, plot) {
  const save = (event, format) =>
    act(event, async () => {
      const { FORMATS } = await import("./chart_export.js");
      const { traces, layout, table } = drawn.get(plot)();
      await FORMATS[format]({ name, traces, layout: { ...themed(layout), paper_bgcolor: inkOf("paper") }, table });
    });
  const buttons = ["SVG", "PNG", "CSV"].map((format) =>
    button(format, (event) => save(event, format), { class: "quiet small", "aria-label": `${name} as ${format}` }),
  );
  return element("span", { class: "row savers", hidden: true }, buttons);
}

/**
 * Draw traces into a chart, or redraw it. `make` returns {traces, layout, summary} in the colours of the theme: it is
 * called again when the page turns light or dark. `summary` says in words what there is to see; `legend` names the groups, by number;
 * `table`, {columns, rows}, has the numbers to save where they are drawn otherwise, as logarithms or errors.
 */
export function draw(figure, make) {
  const plot = figure.querySelector(".plot");
  const isNew = !waiting.has(plot);
  drawn.set(plot, make);
  waiting.add(plot);
  if (isNew) queue = queue.then(() => drawNext(plot)).catch((error) => failed(plot, error));
}

function failed(plot, error) {
  waiting.delete(plot);
  plot.textContent = error.message;
  console.error(error);
}

/** Draw one chart of the queue in a task of its own, so that clicks and keys are handled between two charts. */
async function drawNext(plot) {
  plotly ??= loadPlotly();
  await plotly;
  await new Promise((resolve) => setTimeout(resolve));
  waiting.delete(plot);
  if (plot.isConnected) render(plot, drawn.get(plot));
}

/** Redraw all charts of the page. */
export function redrawAll() {
  for (const [plot, make] of drawn) {
    if (plot.isConnected) draw(plot.parentElement, make);
    else forget(plot);
  }
}

/** Redraw at once all charts that have been drawn: the page is about to be printed, and waits for nothing. */
export function redrawNow() {
  for (const [plot, make] of drawn)
    if (plot.isConnected && plot.classList.contains("js-plotly-plot")) render(plot, make);
}

const MIN_PAD = 0.12; // of a decade, so that a flat line has a tick or two around it

/** Return a logarithmic axis for positive values, with ticks that have few digits. */
export function logAxis(title, values) {
  const [low, high] = decades(values);
  const every = Math.max(1, Math.ceil((high - low) / 7));
  const steps = high - low < 0.6 ? [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9] : high - low < 3 ? [1, 2, 5] : [1];
  const tickvals = [];
  for (let power = Math.floor(low) - 1; power <= high + 1; power += 1) {
    if (power % every === 0) tickvals.push(...steps.map((step) => step * 10 ** power));
  }
  return { title: { text: title }, type: "log", range: [low, high], tickvals, ticktext: tickvals.map(tick) };
}

/** Return the decades that positive values span, with some room around them. */
function decades(values) {
  const exponents = values.filter((value) => value > 0).map(Math.log10);
  const [low, high] = exponents.length ? [Math.min(...exponents), Math.max(...exponents)] : [-1, 0];
  const pad = Math.max(MIN_PAD, 0.04 * (high - low));
  return [low - pad, high + pad];
}

/**
 * Return an axis for accuracies: logarithmic in the error, so that 97 and 98 % stand as far apart as 0 and 33 %. What is drawn on it
 * is the error in per cent (see `errorOf`); the ticks say the accuracy.
 */
export function accuracyAxis(errors) {
  const [low, high] = decades(errors);
  const wide = [90, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1];
  const narrow = [
    95, 90, 85, 80, 75, 70, 60, 50, 40, 30, 25, 20, 15, 12, 10, 8, 6, 5, 4, 3, 2.5, 2, 1.5, 1.2, 1, 0.8, 0.6, 0.5, 0.4,
    0.3, 0.2, 0.1,
  ];
  const tickvals = high - low < 0.8 ? narrow : wide;
  const ticktext = tickvals.map((error) => String(Number((100 - error).toFixed(1))));
  return { title: { text: "accuracy (%), log of the error" }, type: "log", range: [high, low], tickvals, ticktext };
}

/** Return the error in per cent of an accuracy between 0 and 1, as `accuracyAxis` has it; no less than its end. */
export function errorOf(accuracy) {
  return Math.min(Math.max(100 * (1 - accuracy), 0.05), 100);
}

function render(plot, make) {
  const { traces, layout, summary, legend = [] } = make();
  if (!plot.classList.contains("js-plotly-plot")) plot.replaceChildren(); // an error from before
  const entries = legend.map((name, number) => element("span", {}, keyOf(number), ` ${name}`));
  fill(plot.parentElement.querySelector(".legend"), entries);
  if (summary) plot.setAttribute("aria-label", `${plot.parentElement.querySelector("h3").textContent}. ${summary}`);
  plot.parentElement.querySelector(".savers").hidden = false;
  globalThis.Plotly.react(plot, traces, themed(layout), CONFIG);
  sizes.observe(plot);
  for (const [other] of drawn) if (!other.isConnected) forget(other);
}

function forget(plot) {
  drawn.delete(plot);
  sizes.unobserve(plot);
  globalThis.Plotly?.purge(plot);
}

function themed(layout) {
  const [ink, line] = [inkOf("ink"), inkOf("line")];
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const axes = Object.fromEntries(
    Object.entries({ xaxis: {}, yaxis: {}, ...layout })
      .filter(([name]) => /^[xy]axis\d*$/.test(name))
      .map(([name, given]) => [
        name,
        { ...axis, ...given, title: { standoff: 8, font: { size: 12 }, ...given.title } },
      ]),
  );
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 13, color: ink },
    margin: { l: 8, r: 8, t: 8, b: 8 },
    showlegend: false,
    uirevision: "kept", // a stretch that somebody has zoomed into stays while points are added
    hoverlabel: { bgcolor: inkOf("paper"), bordercolor: line, font: { color: ink }, namelength: 40 },
    ...layout,
    ...axes,
  };
}

function loadPlotly() {
  return new Promise((resolve, reject) => {
    const script = element("script", {
      src: "/web/plotly.min.js",
      onload: resolve,
      onerror: () => {
        script.remove();
        plotly = null; // the next chart tries again
        reject(new Error("Plotly could not be loaded."));
      },
    });
    document.head.append(script);
  });
}
