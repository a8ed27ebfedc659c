/** The pictures of the lesson: first weights, digits and their recreations, the signal by layer, and a slider for its scale. */

import { tileRow } from "../charts/weight_tiles.js";
import { samplesOf } from "../lib/api.js";
import { element, field, fill } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { tensorOf } from "../lib/safetensors.js";
import { previewPanel } from "./preview_panel.js";

const TILES = 8;
const INIT_OF_PRESETS = { scheme: "xavier_uniform", bias: "torch_default" };
const SETTLE_MS = 250;
const LEAST = -2.3; // powers of ten: deviations of .005 to 2
const MOST = 0.3;

export const PICTURES = { weights: showWeights, recreations: showRecreations, signal: showSignal };

/** Draw the first weights of each network. */
async function showWeights(_step, page, jobs, place, signal) {
  const found = await Promise.all(jobs.map(({ id }) => tensorOf(id, "layers.0.weight")));
  if (signal.aborted) return;
  const show = () =>
    fill(
      place,
      jobs.map(({ name }, index) =>
        element(
          "figure",
          {},
          element("figcaption", {}, page.weightsOf(name)),
          found[index].values.every((one) => one === 0)
            ? element("p", { class: "faint" }, page.allZero)
            : tileRow(found[index].values, TILES),
        ),
      ),
    );
  addEventListener("fanin-theme", show, { signal });
  show();
}

/** Show test digits above what the first network makes of them. */
async function showRecreations(_step, _page, [{ id }], place, signal) {
  const { chains } = await samplesOf(id, { count: 8, steps: 1, every: 1, start: "digits" });
  if (signal.aborted) return;
  const line = (pictures, name) =>
    element(
      "p",
      { class: "row" },
      pictures.map((image, index) => element("img", { src: image, alt: `${name} ${index + 1}`, class: "sample" })),
    );
  fill(
    place,
    line(
      chains.map((chain) => chain.frames[0].image),
      "digit",
    ),
    line(
      chains.map((chain) => chain.reconstruction),
      "recreation",
    ),
  );
}

/** Show the signal of each network by layer, before training. */
async function showSignal(step, page, _jobs, place, signal) {
  const panel = previewPanel(signal);
  fill(place, element("h3", {}, page.signal), panel.node);
  panel.show(
    step.members.map(({ name, spec }) => ({
      name,
      init: spec.init ?? INIT_OF_PRESETS,
      body: bodyOf(spec),
    })),
  );
}

function bodyOf({ architecture, preset, seed }) {
  const hidden = preset === "mnist_nn_deep" ? Array(4).fill(512) : [256, 256];
  return { architecture: architecture ?? { hidden, activation: "relu" }, seed };
}

/** Return a slider for the standard deviation of all weights, and what the network makes of it before training. */
export function scaleSlider({ activation, depth, width }, page, signal) {
  const panel = previewPanel(signal);
  const told = element("output", {});
  let settling = 0;
  const show = () => {
    const std = Number((10 ** slider.valueAsNumber).toPrecision(2));
    told.textContent = number(std);
    clearTimeout(settling);
    settling = setTimeout(() => {
      if (signal.aborted) return;
      const body = { architecture: { hidden: Array(depth).fill(width), activation }, seed: 0 };
      panel.show([{ name: `normal ${number(std)}`, init: { scheme: "normal", std }, body }]);
    }, SETTLE_MS);
  };
  const slider = element("input", { type: "range", min: LEAST, max: MOST, step: 0.05, value: -1.5, oninput: show });
  show();
  return [
    element("h3", {}, page.signal),
    field(page.slider, element("span", { class: "row" }, slider, told)),
    panel.node,
  ];
}
