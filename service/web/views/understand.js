/** Understand: what a network has learned, what it gets wrong, how schemes compare, and what has been claimed of them. */

import { confusionPanel, loadEvaluation } from "../charts/confusion_matrix.js";
import { histogramsPanel } from "../charts/histograms.js";
import { phasePanel } from "../charts/phase_diagram.js";
import { loadWeights, weightTiles } from "../charts/weight_tiles.js";
import { keep, link } from "../lib/address.js";
import { getModel } from "../lib/api.js";
import { choice, element, field, fill } from "../lib/dom.js";
import { empty, fillLater } from "../lib/notices.js";
import { claimsPanel, loadClaims } from "../panels/claims.js";
import { comparisonPanel, loadExperiments } from "../panels/comparison.js";
import { choosableModels } from "../panels/model_picker.js";
import { loadSamples, samplesPanel } from "../panels/samples.js";

const PARTS = {
  weights: { title: "First weights", ofModel: { load: loadWeights, panel: weightTiles } },
  layers: { title: "Distributions", ofModel: { load: loadWeights, panel: histogramsPanel } },
  mistakes: { title: "Mistakes", ofModel: { load: loadEvaluation, panel: confusionPanel } },
  samples: { title: "Samples", ofModel: { load: loadSamples, panel: samplesPanel } },
  compare: { title: "Compare schemes" },
  phase: { title: "Order and chaos" },
  claims: { title: "Claims and recipes" },
};

/** Open the view in a container, until `signal` aborts. */
export function open(container, params, signal) {
  const part = Object.hasOwn(PARTS, params.get("part")) ? params.get("part") : "weights";
  const chosen = { model: params.get("model"), experiment: params.get("experiment") };
  const tabs = Object.entries(PARTS).map(([name, { title }]) => [
    name,
    element("a", { class: "button quiet", "aria-current": name === part && "page" }, title),
  ]);
  const choose = (changes) => {
    Object.assign(chosen, changes);
    for (const [name, tab] of tabs) tab.href = link("understand", { part: name, ...chosen });
    if (!signal.aborted && Object.keys(changes).length) keep({ ...changes, epoch: null });
  };
  choose({});
  const card = element("section", { class: "card", "aria-label": PARTS[part].title });
  const place = element("div", { class: "view" });
  fill(
    container,
    element(
      "nav",
      { class: "row", "aria-label": "Parts of this view" },
      tabs.map(([, tab]) => tab),
    ),
    card,
  );
  fill(card, element("h1", {}, PARTS[part].title), place);
  const { ofModel } = PARTS[part];
  if (ofModel) openOfModel(place, { asked: chosen.model ?? "latest", choose, ofModel, params }, signal);
  else if (part === "phase") fill(place, phasePanel(params, signal));
  else if (part === "claims")
    fillLater(place, "the claims", signal, loadClaims, (claims) => claimsPanel(claims, signal));
  else
    fillLater(place, "the experiments", signal, loadExperiments, (all) =>
      comparisonPanel(all, chosen.experiment, (experiment) => choose({ experiment }), signal),
    );
}

function openOfModel(place, { asked, choose, ofModel, params }, signal) {
  fillLater(place, "the models", signal, choosableModels, (models) => {
    if (models.length === 0)
      return empty("No model yet.", element("a", { class: "button", href: link("start") }, "Train some"));
    const options = models.map(({ id, text }) => [id, text]);
    if (!models.some(({ id }) => id === asked)) options.unshift([asked, asked]);
    const panel = element("div", { class: "view" });
    const show = (id) =>
      fillLater(
        panel,
        "the model",
        signal,
        () => loadModel(id, ofModel),
        ([model, loaded]) => ofModel.panel(model, loaded, params, signal),
      );
    const select = choice(options, asked, (id) => {
      choose({ model: id });
      params.delete("epoch");
      show(id);
    });
    show(asked);
    return [field("Model", select), panel];
  });
}

/** Load the data of a part. `latest` and aliases are resolved once, so that all data belong to one model. */
async function loadModel(id, ofModel) {
  const model = await getModel(id);
  return [model, await ofModel.load(model)];
}
