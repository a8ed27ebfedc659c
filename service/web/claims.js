/** Published claims about initialization, each with what counts as reproduced; a press tries one on the queue. */

import { go, link } from "./address.js";
import { everyPage, getExperiment, listExperiments, listRecipes, submitExperiment } from "./api.js";
import { copyAsCurl } from "./curl.js";
import { button, element } from "./dom.js";
import { counted } from "./format.js";
import { act } from "./notices.js";
import { randomKey } from "./random_key.js";

const EXPERIMENTS_LOOKED_THROUGH = 500;

/** Return the list of all recipes, each with the outcome of its last trial. Raises what the API raises. */
export async function claimsPanel() {
    const [recipes, experiments] = await Promise.all([listRecipes(), everyPage(listExperiments, {}, EXPERIMENTS_LOOKED_THROUGH)]);
    const last = new Map();
    for (const one of experiments) if (one.recipe && !last.has(one.recipe)) last.set(one.recipe, one);
    const outcomes = new Map(await Promise.all([...last].map(async ([name, { id }]) => [name, await getExperiment(id)])));
    return element("div", { class: "columns" }, recipes.data.map((recipe) => card(recipe, outcomes.get(recipe.name))));
}

function card(recipe, outcome) {
    const body = { recipe: recipe.name };
    const run = async () => go("watch", { experiment: (await submitExperiment(body, randomKey())).id });
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
            button(outcome ? "Run it again" : "Run it", (event) => act(event, run), { "aria-label": `Run recipe ${recipe.name}` }),
            element("small", {}, `${counted(recipe.members, "model")}${recipe.is_long ? ", many minutes" : ""}`),
            copyAsCurl(() => ({ method: "POST", path: "/experiments", body })),
        ),
    );
}

function verdictOf({ id, verdict, has_ended: hasEnded }) {
    const watch = element("a", { href: link("watch", { experiment: id }) }, hasEnded ? "its jobs" : "watch it");
    if (!hasEnded) return element("p", {}, element("span", { class: "state running" }, "being tried"), " ", watch);
    if (verdict.holds === null) return element("p", {}, element("span", { class: "state cancelled" }, "cannot be said"), ` ${verdict.reason ?? ""} `, watch);
    const word = verdict.holds ? ["succeeded", "holds"] : ["failed", "does not hold"];
    return element("p", {}, element("span", { class: `state ${word[0]}` }, word[1]), `: ${verdict.measured} `, watch);
}
