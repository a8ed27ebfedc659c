/** The look at schemes before training: signal and gradient by layer, measured and predicted, and a verdict in words. */

import { chart, draw, logAxis } from "../charts/plotly_chart.js";
import { Problem, preview } from "../lib/api.js";
import { element, fill } from "../lib/dom.js";
import { failure } from "../lib/notices.js";
import { keyOf, styleOf } from "../lib/palette.js";

const BUSY_RETRY_MS = 700;
const MAX_KEPT = 200;
const kept = new Map();
let last = Promise.resolve();

/** Return {node, show}: `show(wanted)` looks at each of [{name, init, body}] in turn; a later call replaces an earlier one. */
export function previewPanel(signal) {
  const signals = chart(
    "Signal by layer before training",
    "z: a layer's weighted sums, before its activation. Lines with markers: measured on 512 training images. Thin dashes: what theory predicts.",
  );
  const gradients = chart(
    "Gradient by layer before training",
    "The same for the gradient of the loss, from the output back to layer 1.",
  );
  const differences = chart(
    "What differs between images, by layer before training",
    "1 − the mean cosine between the z of two images. At 0 all images look the same to a layer, however strong its signal is.",
  );
  const verdicts = element("ul", { class: "said-of", "aria-live": "polite" });
  const status = element("p", { class: "faint", role: "status" });
  let turn = 0;
  async function show(wanted) {
    const mine = ++turn;
    const current = () => mine === turn && !signal.aborted;
    const found = [];
    for (const [number, one] of wanted.entries()) {
      status.textContent = `Previewing ${one.name} (${number + 1} of ${wanted.length}) …`;
      const result = await looked(one, current);
      if (!current()) return;
      found.push({ ...one, number, ...result });
      showFound(found);
    }
    const data = found.find((one) => one.answer)?.answer.data;
    status.textContent = data ? `Measured on training images of ${data}.` : "";
    if (found.length === 0) showFound(found);
  }
  function showFound(found) {
    const measured = found.filter((one) => one.answer);
    draw(signals, () => byLayer(measured, plain("z_rms"), "rms of z (no unit)"));
    draw(gradients, () => byLayer(measured, plain("dz_rms"), "rms of ∂loss/∂z (nats)"));
    draw(differences, () => byLayer(measured, difference, "1 − cosine (no unit)"));
    fill(verdicts, found.map(verdictOf));
  }
  return {
    node: element(
      "div",
      { class: "view" },
      status,
      verdicts,
      element("div", { class: "charts" }, signals, gradients, differences),
    ),
    show,
  };
}

/** Return {answer} or {error}. The service makes one preview at a time for all clients: the page waits for its own, and retries while others are made. */
async function looked({ init, body }, current) {
  const key = JSON.stringify([init, body]);
  while (!kept.has(key)) {
    try {
      await last;
      if (!current()) return {};
      const { scheme, ...parameters } = init;
      const asked = preview(scheme, { ...body, init: parameters });
      last = asked.catch(() => {});
      kept.set(key, await asked);
    } catch (error) {
      if (!(error instanceof Problem && error.status === 503 && current())) return { error };
      await new Promise((resolve) => setTimeout(resolve, BUSY_RETRY_MS));
      if (!current()) return {};
    }
  }
  if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value);
  return { answer: kept.get(key) };
}

function verdictOf({ name, number, answer, error }) {
  const key = keyOf(number);
  if (error) return element("li", {}, key, ` ${name}: `, failure(error));
  const { verdict } = answer.diagnostics;
  const zero = answer.diagnostics.layers.some((layer) => layer.dz_rms === 0)
    ? " A gradient of exactly 0 has no place on a logarithmic axis."
    : "";
  return element(
    "li",
    {},
    key,
    " ",
    element("strong", {}, name),
    `: ${verdict}.${zero}${answer.note ? ` ${answer.note}` : ""}`,
  );
}

/** Return the names of the schemes by number; a scheme without a preview keeps its colour. */
function legendOf(found) {
  const names = [];
  for (const { name, number } of found) names[number] = name;
  return names;
}

/** Return how a value of a layer is read, and the one that theory predicts; null, and no point, where it is 0. */
const plain = (name) => (layer, of) => layer[name + of] || null;

/** The same of 1 − a cosine; below 10⁻¹² it is rounding. */
function difference(layer, of) {
  const cosine = layer[`z_cosine${of}`] ?? null;
  return cosine === null ? null : Math.max(1 - cosine, 1e-12);
}

function byLayer(found, read, title) {
  const traces = found.flatMap(({ name, number, answer }) => {
    const { colour, marker, dash } = styleOf(number);
    const { layers } = answer.diagnostics;
    const x = layers.map((one) => one.layer);
    const common = { x, line: { color: colour, dash } };
    return [
      {
        ...common,
        y: layers.map((one) => read(one, "")),
        name,
        mode: "lines+markers",
        marker: { symbol: marker, size: 7, color: colour },
      },
      {
        ...common,
        y: layers.map((one) => read(one, "_predicted")),
        name: `${name}, predicted`,
        mode: "lines",
        line: { color: colour, dash: "dash", width: 1.2 },
      },
    ];
  });
  const layout = {
    xaxis: {
      title: { text: "layer (the last is the output)" },
      dtick: found.some((one) => one.answer.diagnostics.layers.length > 12) ? 5 : 1,
    },
    yaxis: logAxis(
      title,
      traces.flatMap((trace) => trace.y),
    ),
  };
  const summary = found.map(({ name, answer }) => `${name}: ${answer.diagnostics.verdict}`).join("; ");
  return { traces, layout, summary, legend: legendOf(found) };
}
