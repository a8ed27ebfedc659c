/** Choosing a model among those that the service keeps: aliases first, then the newest. */

import { listAliases, listModels } from "../lib/api.js";
import { percent, shortId, specInWords } from "../lib/format.js";

const MODELS_SHOWN = 100;

/** Return the models that can be chosen, as [{id, text}]: latest, every alias, and the newest hundred jobs' models. */
export async function choosableModels() {
  const [models, aliases] = await Promise.all([
    listModels({ limit: MODELS_SHOWN }),
    listAliases({ limit: MODELS_SHOWN }),
  ]);
  if (models.data.length === 0) return [];
  return [
    { id: "latest", text: "latest: the last job that succeeded" },
    ...aliases.data.map((one) => ({ id: one.name, text: `${one.name}: alias of ${shortId(one.model)}` })),
    ...models.data.map((model) => ({ id: model.id, text: describe(model) })),
  ];
}

/** Return a model in words: its scheme, network, seed and accuracy. */
function describe({ id, spec, accuracy }) {
  return `${specInWords(spec)}${accuracy === null ? "" : `, ${percent(accuracy)}`} (${shortId(id)})`;
}
