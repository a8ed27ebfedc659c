/** Published claims about initialization, each with its criterion; a button submits the recipe. */

import { go, link } from "../lib/address.js";
import { everyPage, getExperiment, listExperiments, listRecipes, submitExperiment } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { button, element } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { randomKey } from "../lib/idempotency_key.js";
import { act } from "../lib/notices.js";

const EXPERIMENTS_LOOKED_THROUGH = 500;

/** Load all recipes, each with the experiment that tried it last, if there is one. */
export async function loadClaims() {
  const [recipes, experiments] = await Promise.all([
    listRecipes(),
    everyPage(listExperiments, {}, EXPERIMENTS_LOOKED_THROUGH),
  ]);
  const last = new Map();
  for (const one of experiments) if (one.recipe && !last.has(one.recipe)) last.set(one.recipe, one);
  return Promise.all(
    recipes.data.map(async (recipe) => [
      recipe,
      last.has(recipe.name) ? await getExperiment(last.get(recipe.name).id) : null,
    ]),
  );
}

/** Return the list of claims. */
export function claimsPanel(claims, signal) {
  return element(
    "div",
    { class: "columns" },
    claims.map(([recipe, outcome]) => card(recipe, outcome, signal)),
  );
}

function card(recipe, outcome, signal) {
  const body = { recipe: recipe.name };
  const run = async () => {
    const { id } = await submitExperiment(body, randomKey());
    if (!signal.aborted) go("watch", { experiment: id });
  };
  return element(
    "article",
    { class: "card" },
    element("h3", {}, `${recipe.name} ${recipe.title.replaceAll("_", " ")}`),
    element("p", {}, `${recipe.claim}.`),
    element("small", {}, `Source: ${recipe.source}. Counts as reproduced if: ${recipe.expected}.`),
    outcome ? verdictOf(outcome) : element("p", { class: "faint" }, "Not tried on this service yet."),
    element(
      "div",
      { class: "row" },
      button(outcome ? "Run it again" : "Run it", (event) => act(event, run), {
        "aria-label": `Run recipe ${recipe.name}`,
      }),
      element("small", {}, `${counted(recipe.members, "model")}${recipe.is_long ? ", many minutes" : ""}`),
      copyAsCurl(() => ({ method: "POST", path: "/experiments", body })),
    ),
  );
}

function verdictOf({ id, verdict, has_ended: hasEnded }) {
  const watch = element("a", { href: link("watch", { experiment: id }) }, hasEnded ? "its jobs" : "watch it");
  if (!hasEnded) return element("p", {}, element("span", { class: "state running" }, "being tried"), " ", watch);
  if (verdict.holds === null)
    return element(
      "p",
      {},
      element("span", { class: "state cancelled" }, "cannot be said"),
      ` ${verdict.reason ?? ""} `,
      watch,
    );
  const word = verdict.holds ? ["succeeded", "holds"] : ["failed", "does not hold"];
  return element("p", {}, element("span", { class: `state ${word[0]}` }, word[1]), `: ${verdict.measured} `, watch);
}
