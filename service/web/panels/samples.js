/** Samples of a deep belief network: Gibbs chains as rows of pictures, from noise or from digits. */

import { samplesOf } from "../lib/api.js";
import { choice, element, field } from "../lib/dom.js";
import { empty, fillLater } from "../lib/notices.js";

const CHAINS = { count: 8, steps: 500, every: 50 };
const STARTS = [
  ["noise", "from noise"],
  ["digits", "from digits"],
];

/** Nothing to load before the panel is shown: it asks for its pictures itself. */
export const loadSamples = async () => null;

/** Return the panel of a model's samples. */
export function samplesPanel(model, _nothing, _params, signal) {
  if (model.spec.init.scheme !== "dbn")
    return empty("Only a deep belief network generates digits: train one with the scheme dbn (sigmoid).");
  const place = element("div", { class: "view" });
  const show = (start) =>
    fillLater(place, "the samples", signal, () => samplesOf(model.job_id, { ...CHAINS, start }), rowsOf);
  const select = choice(STARTS, "noise", show);
  show("noise");
  return [
    element(
      "p",
      {},
      "Before it learned labels this network learned what digits look like. Here its top machine takes steps of Gibbs sampling, and the layers below turn its state into a picture.",
    ),
    field("Chains", select),
    place,
  ];
}

function rowsOf({ chains }) {
  const steps = chains[0].frames.map((frame) => frame.step);
  const isRebuilt = chains[0].reconstruction !== null;
  const head = element(
    "tr",
    {},
    isRebuilt && element("th", { scope: "col" }, "recreated"),
    steps.map((step) => element("th", { scope: "col" }, `step ${step}`)),
  );
  const picture = (image, text) => element("td", {}, element("img", { src: image, alt: text, class: "sample" }));
  const rows = chains.map(({ frames, reconstruction }, number) =>
    element(
      "tr",
      {},
      isRebuilt && picture(reconstruction, `digit ${number + 1}, recreated`),
      frames.map(({ step, image }) => picture(image, `chain ${number + 1}, step ${step}`)),
    ),
  );
  return element(
    "div",
    { class: "scroll" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, rows)),
  );
}
