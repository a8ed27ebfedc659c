/** The first layer's weights as pictures: one 28x28 tile per unit, negative weights blue, positive ones orange. */

import { keep } from "../lib/address.js";
import { checkpointsOf } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { button, element, field, fill } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { failure } from "../lib/notices.js";
import { diverging } from "../lib/palette.js";
import { tensorOf } from "../lib/safetensors.js";

const SIDE = 28;
const PIXELS = SIDE * SIDE;
const TILES_A_PAGE = 64;
const CLIP = 0.995; // the share of weights that the colours span; the few beyond are drawn at the ends

/** Load what the panel of a model shows: the epochs of which there are weights. */
export async function loadWeights(model) {
  const checkpoints = await checkpointsOf(model.job_id);
  return checkpoints.data
    .filter((one) => one.model !== null)
    .map((one) => one.epoch)
    .sort((one, other) => one - other);
}

/** Return the panel of a model's first weights over its epochs. */
export function weightTiles(model, epochs, params, signal) {
  const epoch = Number(params.get("epoch") ?? model.epoch);
  const state = { epoch: epochs.includes(epoch) ? epoch : model.epoch, page: 0, isStrongestFirst: false };
  const place = element("div", { class: "view" });
  const told = element("output", {});
  let requests = 0;
  let tensor = null;
  async function showEpoch() {
    const request = ++requests;
    told.textContent = `${state.epoch}${state.epoch === 0 ? ": before training" : ""}`;
    try {
      const loaded = await tensorOf(`${model.job_id}@${state.epoch}`, "layers.0.weight");
      if (request !== requests || signal.aborted) return;
      tensor = loaded;
      showTiles();
    } catch (error) {
      if (request === requests && !signal.aborted) fill(place, failure(error, showEpoch));
    }
  }
  function showTiles() {
    if (tensor === null) return;
    fill(place, tiles(tensor.values, tensor.shape[0], state));
    pages.show(tensor.shape[0]);
  }
  const pages = pagesOf(state, showTiles);
  addEventListener("fanin-theme", showTiles, { signal });
  showEpoch();
  const isDbn = model.spec.init.scheme === "dbn";
  return [
    controlsOf(model, epochs, state, { told, showEpoch, turnTo: pages.turnTo }),
    isDbn &&
      element(
        "p",
        { class: "faint" },
        "This model was pre-trained: the tiles of epoch 0 are the filters of the first restricted Boltzmann machine.",
      ),
    place,
    pages.node,
  ];
}

function controlsOf(model, epochs, state, { told, showEpoch, turnTo }) {
  const slider = element("input", {
    type: "range",
    min: 0,
    max: epochs.length - 1,
    value: epochs.indexOf(state.epoch),
    oninput: () => {
      state.epoch = epochs[slider.valueAsNumber];
      keep({ epoch: state.epoch });
      showEpoch();
    },
  });
  const strongest = element("input", {
    type: "checkbox",
    onchange: () => {
      state.isStrongestFirst = strongest.checked;
      turnTo(0);
    },
  });
  return element(
    "div",
    { class: "row" },
    field("Epoch", element("span", { class: "row" }, slider, told)),
    element("label", { class: "check" }, strongest, "strongest first"),
    copyAsCurl(() => ({ path: `/models/${model.job_id}@${state.epoch}/weights?format=safetensors` })),
  );
}

/** Return {node, show, turnTo}: which of the units are shown, and the buttons to others. */
function pagesOf(state, showTiles) {
  const turnTo = (page) => {
    state.page = page;
    showTiles();
  };
  const range = element("span", { class: "faint", role: "status" });
  const before = button("Before", () => turnTo(state.page - 1), { class: "quiet small" });
  const next = button("Next", () => turnTo(state.page + 1), { class: "quiet small" });
  const show = (units) => {
    const first = state.page * TILES_A_PAGE;
    range.textContent = `Units ${first + 1} to ${Math.min(units, first + TILES_A_PAGE)} of ${units}.`;
    before.disabled = first === 0;
    next.disabled = first + TILES_A_PAGE >= units;
  };
  return { node: element("div", { class: "row" }, range, before, next), show, turnTo };
}

/** Return the first tiles of a layer in a row, with their scale. */
export function tileRow(values, count) {
  const limit = spanOf(values);
  const shown = Array.from({ length: count }, (_, unit) => values.subarray(unit * PIXELS, (unit + 1) * PIXELS));
  return [
    scaleOf(limit),
    element(
      "div",
      { class: "tiles" },
      shown.map((weights, unit) => tile(weights, limit, unit)),
    ),
  ];
}

function tiles(values, units, state) {
  const weightsOf = (unit) => values.subarray(unit * PIXELS, (unit + 1) * PIXELS);
  const order = Array.from({ length: units }, (_, unit) => unit);
  if (state.isStrongestFirst) {
    const norms = order.map((unit) => weightsOf(unit).reduce((sum, one) => sum + one * one, 0));
    order.sort((one, other) => norms[other] - norms[one]);
  }
  const limit = spanOf(values);
  const shown = order.slice(state.page * TILES_A_PAGE, (state.page + 1) * TILES_A_PAGE);
  const nothing = element("p", {}, "Every weight is exactly 0: all units are equal, and there is nothing to show.");
  return [
    limit === 0 ? nothing : scaleOf(limit),
    element(
      "div",
      { class: "tiles" },
      shown.map((unit) => tile(weightsOf(unit), limit, unit)),
    ),
  ];
}

function spanOf(values) {
  const sizes = Float32Array.from(values, Math.abs).sort();
  return sizes[Math.floor(CLIP * (sizes.length - 1))] || sizes.at(-1);
}

function tile(weights, limit, unit) {
  const canvas = element("canvas", {
    class: "tile pixels",
    width: SIDE,
    height: SIDE,
    role: "img",
    "aria-label": `Weights of unit ${unit + 1}`,
  });
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  for (let pixel = 0; pixel < PIXELS; pixel += 1)
    image.data.set([...diverging(weights[pixel] / (limit || 1)), 255], 4 * pixel);
  context.putImageData(image, 0, 0);
  return canvas;
}

function scaleOf(limit) {
  const canvas = element("canvas", { class: "scale", width: 101, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  for (let step = 0; step <= 100; step += 1) {
    context.fillStyle = `rgb(${diverging((step - 50) / 50).join(", ")})`;
    context.fillRect(step, 0, 1, 1);
  }
  return element("p", { class: "row faint" }, `weight −${number(limit)}`, canvas, `+${number(limit)} (no unit)`);
}
