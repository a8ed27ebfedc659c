/** Choosing a model among those that the service keeps: aliases first, then the newest. */

import { listAliases, listModels } from "../lib/api.js";
import { percent, shortId, specInWords } from "../lib/format.js";

const MODELS_SHOWN = 100;

const FAILED = 0.5; // accuracy below which a model is shown as one that has not learned

/**
 * Return the models that can be chosen, as [{id, text, accuracy}]: best and latest, every alias, and the newest hundred jobs' models.
 */
export async function choosableModels() {
  const [models, aliases] = await Promise.all([
    listModels({ limit: MODELS_SHOWN }),
    listAliases({ limit: MODELS_SHOWN }),
  ]);
  if (models.data.length === 0) return [];
  return [
    { id: "best", text: "best: the highest accuracy" },
    { id: "latest", text: "latest: the last job that succeeded" },
    ...aliases.data.map((one) => ({ id: one.name, text: `${one.name}: alias of ${shortId(one.model)}` })),
    ...models.data.map((model) => ({ id: model.id, text: describe(model), accuracy: model.accuracy })),
  ];
}

/** Return the ids of two models to compare, of those that can be chosen: the best, and the newest that has not learned. */
export function bestAndFailed(models) {
  const failed = models.find(({ accuracy }) => typeof accuracy === "number" && accuracy < FAILED);
  return failed ? ["best", failed.id] : ["best"];
}

/** Return a model in words: its scheme, network, seed and accuracy. */
function describe({ id, spec, accuracy }) {
  return `${specInWords(spec)}${accuracy === null ? "" : `, ${percent(accuracy)}`} (${shortId(id)})`;
}
