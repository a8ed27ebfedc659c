/** Distributions in every layer of a model at an epoch: weights, their gradients, activations, and cosines between units. */

import { keep } from "../lib/address.js";
import { distributionsOf } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { element, field, fill, tableOf } from "../lib/dom.js";
import { number, percent } from "../lib/format.js";
import { fillLater } from "../lib/notices.js";
import { inkOf } from "../lib/palette.js";
import { svg } from "../lib/svg.js";

const KINDS = {
  weights: "weights",
  weight_gradients: "gradients of the weights",
  activations: "activations",
  unit_cosines: "cosines between units",
};
const WIDTH = 160;
const HEIGHT = 56;

/** Return the panel of a model's distributions over its epochs. */
export function histogramsPanel(model, epochs, params, signal) {
  const asked = Number(params.get("epoch") ?? model.epoch);
  const state = { epoch: epochs.includes(asked) ? asked : model.epoch };
  const place = element("div", { class: "view" });
  const told = element("output", {});
  let found = null;
  const draw = (answer) => {
    found = answer;
    return table(answer);
  };
  const show = () => {
    told.textContent = `${state.epoch}${state.epoch === 0 ? ": before training" : ""}`;
    fillLater(place, "the distributions", signal, () => distributionsOf(`${model.job_id}@${state.epoch}`), draw);
  };
  addEventListener("fanin-theme", () => found && fill(place, table(found)), { signal });
  show();
  return [epochControl(model, epochs, state, told, show), about(), place];
}

function epochControl(model, epochs, state, told, show) {
  const slider = element("input", {
    type: "range",
    min: 0,
    max: epochs.length - 1,
    value: epochs.indexOf(state.epoch),
    onchange: () => {
      state.epoch = epochs[slider.valueAsNumber];
      keep({ epoch: state.epoch });
      show();
    },
  });
  return element(
    "div",
    { class: "row" },
    field("Epoch", element("span", { class: "row" }, slider, told)),
    copyAsCurl(() => ({ path: `/models/${model.job_id}@${state.epoch}/distributions` })),
  );
}

function about() {
  return element(
    "p",
    { class: "faint" },
    "64 bins each, from the 0.1 % quantile to the 99.9 % quantile; the numbers beyond are in the first and the last bin. Numbers that are exactly 0 are counted apart. Gradients and activations are of the first 512 training images. A cosine of 1: two units are one and the same.",
  );
}

function table({ layers }) {
  const rows = layers.map((layer) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, layer.layer === layers.length ? "output" : `layer ${layer.layer}`),
      Object.entries(KINDS).map(([kind, name]) =>
        element("td", { "data-head": name }, picture(layer[kind], `${name} of layer ${layer.layer}`)),
      ),
    ),
  );
  return tableOf("Distributions in every layer", ["Layer", ...Object.values(KINDS)], rows, { kind: "cards" });
}

function picture(histogram, name) {
  if (histogram === null) return element("span", { class: "faint" }, "undefined: at most one unit is not 0");
  const { low, high, counts, zeros, mean } = histogram;
  const total = counts.reduce((sum, count) => sum + count, zeros);
  const zeroShare = zeros > 0 ? `, ${percent(zeros / total, 0)} are 0` : "";
  const facts = total === zeros && total > 0 ? "all are 0" : `${number(low)} to ${number(high)}, mean ${number(mean)}`;
  const text = total === zeros ? facts : `${facts}${zeroShare}`;
  return element(
    "figure",
    { class: "histogram" },
    bars(histogram, `${name}: ${text}`),
    element("figcaption", {}, text),
  );
}

function bars({ low, high, counts }, spoken) {
  const most = Math.max(...counts, 1);
  const step = WIDTH / counts.length;
  const corners = counts.flatMap((count, bin) => {
    const y = HEIGHT * (1 - count / most);
    return [`${bin * step},${y}`, `${(bin + 1) * step},${y}`];
  });
  const drawn = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": spoken },
    svg("polygon", { points: `0,${HEIGHT} ${corners.join(" ")} ${WIDTH},${HEIGHT}`, fill: inkOf("group-0") }),
  );
  if (low < 0 && high > 0) {
    const x = (-low / (high - low)) * WIDTH;
    drawn.append(svg("line", { x1: x, x2: x, y1: 0, y2: HEIGHT, stroke: inkOf("ink"), "stroke-dasharray": "2 3" }));
  }
  return drawn;
}
