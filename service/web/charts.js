/** Charts, drawn by Plotly, which is loaded when the first one is needed. */

import { element } from "./dom.js";
import { tick } from "./format.js";
import { inkOf } from "./palette.js";

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };
const drawn = new Map();
const waiting = new Set();
let queue = Promise.resolve();
let plotly = null;

/**
 * Return an empty chart: a figure with a name for screen readers and, below it, what its lines mean. Draw into it by
 * `draw`. `tall` is for charts with many rows.
 */
export function chart(name, note = null, kind = "") {
    const plot = element("div", { class: `plot ${kind}`, role: "img", "aria-label": name });
    return element("figure", { class: "chart" }, element("h3", {}, name), plot, note && element("figcaption", {}, note));
}

/**
 * Draw traces into a chart, or draw it anew. `make` returns {traces, layout, summary} in the colours of the moment: it is
 * called again when the page turns light or dark. `summary` says in words what there is to see.
 */
export function draw(figure, make) {
    const plot = figure.querySelector(".plot");
    const isNew = !waiting.has(plot);
    drawn.set(plot, make);
    waiting.add(plot);
    if (isNew) queue = queue.then(() => drawNext(plot));
}

/** Draw one chart of the queue, in a turn of its own, so that clicks and keys are heard between two charts. */
async function drawNext(plot) {
    try {
        await (plotly ??= loadPlotly());
    } catch (error) {
        plot.textContent = error.message;
        waiting.delete(plot);
        return;
    }
    await new Promise((resolve) => setTimeout(resolve));
    waiting.delete(plot);
    if (plot.isConnected) render(plot, drawn.get(plot));
}

/** Draw all charts anew that are on the page. */
export function redrawAll() {
    for (const [plot, make] of drawn) {
        if (plot.isConnected) draw(plot.parentElement, make);
        else forget(plot);
    }
}

/** Return a logarithmic axis for positive values, with ticks that have few digits. */
export function logAxis(title, values) {
    const exponents = values.filter((value) => value > 0).map(Math.log10);
    const [low, high] = exponents.length ? [Math.min(...exponents), Math.max(...exponents)] : [-1, 0];
    const decades = Math.floor(high) - Math.ceil(low) + 1;
    const every = Math.max(1, Math.ceil(decades / 7));
    const steps = high - low < 0.3 ? [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9] : decades < 3 ? [1, 2, 5] : [1];
    const tickvals = [];
    for (let power = Math.floor(low) - 1; power <= high + 1; power += 1) {
        if (power % every === 0) tickvals.push(...steps.map((step) => step * 10 ** power));
    }
    return { title: { text: title }, type: "log", tickvals, ticktext: tickvals.map(tick) };
}

/**
 * Return an axis for accuracies: logarithmic in the error, so that 97 and 98 % stand as far apart as 0 and 33 %. What is drawn on it
 * is the error in per cent (see `errorOf`); the ticks say the accuracy.
 */
export function accuracyAxis() {
    const errors = [90, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1];
    const ticktext = errors.map((error) => String(Number((100 - error).toFixed(1))));
    return { title: { text: "accuracy (%), log of the error" }, type: "log", autorange: "reversed", tickvals: errors, ticktext };
}

/** Return the error in per cent of an accuracy between 0 and 1, as `accuracyAxis` has it; no less than its end. */
export function errorOf(accuracy) {
    return Math.max(100 * (1 - accuracy), 0.05);
}

function render(plot, make) {
    const { traces, layout, summary } = make();
    if (summary) plot.setAttribute("aria-label", `${plot.parentElement.querySelector("h3").textContent}. ${summary}`);
    globalThis.Plotly.react(plot, traces, themed(layout), CONFIG);
    for (const [other] of drawn) if (!other.isConnected) forget(other);
}

function forget(plot) {
    drawn.delete(plot);
    globalThis.Plotly?.purge(plot);
}

function themed(layout) {
    const [ink, line] = [inkOf("ink"), inkOf("line")];
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    const axes = Object.fromEntries(
        Object.entries({ xaxis: {}, yaxis: {}, ...layout })
            .filter(([name]) => /^[xy]axis\d*$/.test(name))
            .map(([name, given]) => [name, { ...axis, ...given, title: { standoff: 8, font: { size: 12 }, ...given.title } }]),
    );
    return {
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: "system-ui, sans-serif", size: 13, color: ink },
        margin: { l: 8, r: 8, t: 8, b: 8 },
        showlegend: true,
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
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
