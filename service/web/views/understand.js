/** Understand: what a network has learned, what it gets wrong, how schemes compare, and what has been claimed of them. */

import { keep, link } from "../address.js";
import { claimsPanel } from "../claims.js";
import { comparisonPanel } from "../comparison.js";
import { confusionPanel } from "../confusion.js";
import { choice, element, field, fill } from "../dom.js";
import { choosableModels } from "../model_choice.js";
import { empty, fillLater } from "../notices.js";
import { weightTiles } from "../weight_tiles.js";

const PARTS = {
    weights: { title: "First weights", ofModel: weightTiles },
    mistakes: { title: "Mistakes", ofModel: confusionPanel },
    compare: { title: "Compare schemes" },
    claims: { title: "Claims and recipes" },
};

/** Open the view in a container; `signal` aborts when it is left. */
export function open(container, params, signal) {
    const part = params.get("part") in PARTS ? params.get("part") : "weights";
    const address = (name) => link("understand", { part: name, model: params.get("model"), experiment: params.get("experiment") });
    const tabs = Object.entries(PARTS).map(([name, { title }]) =>
        element("a", { class: "button quiet", href: address(name), "aria-current": name === part && "page" }, title),
    );
    const card = element("section", { class: "card", "aria-label": PARTS[part].title });
    const place = element("div", { class: "view" });
    fill(container, element("nav", { class: "row", "aria-label": "Parts of this view" }, tabs), card);
    fill(card, element("h1", {}, PARTS[part].title), place);
    const { ofModel } = PARTS[part];
    if (ofModel) openOfModel(place, params, ofModel, signal);
    else if (part === "claims") fillLater(place, "the claims", signal, claimsPanel);
    else fillLater(place, "the experiments", signal, () => comparisonPanel(params.get("experiment"), (id) => keep({ experiment: id }), signal));
}

function openOfModel(place, params, ofModel, signal) {
    fillLater(place, "the models", signal, async () => {
        const models = await choosableModels();
        if (models.length === 0) return empty("No model yet.", element("a", { class: "button", href: link("start") }, "Train some"));
        const asked = params.get("model") ?? "latest";
        const options = models.map(({ id, text }) => [id, text]);
        if (!models.some(({ id }) => id === asked)) options.unshift([asked, asked]);
        const panel = element("div", { class: "view" });
        const show = (id) => fillLater(panel, "the model", signal, () => ofModel(id, signal));
        const select = choice(options, asked, (id) => {
            keep({ model: id });
            show(id);
        });
        show(asked);
        return [field("Model", select), panel];
    });
}
