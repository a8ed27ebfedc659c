/** An experiment's groups side by side: means with intervals, only the fields that differ, and in words what that shows. */

import { comparisonOf, comparisonTableOf, listExperiments } from "./api.js";
import { accuracyAxis, chart, draw, errorOf } from "./charts.js";
import { copyAsCurl } from "./curl.js";
import { button, choice, element, field, fill, scrolled } from "./dom.js";
import { saveBlob } from "./download.js";
import { number, percent, when } from "./format.js";
import { act, empty, fillLater } from "./notices.js";
import { link } from "./address.js";
import { styleOf } from "./palette.js";

const EXPERIMENTS_SHOWN = 100;
const PAIRS_AT_FIRST = 12;

/** Return the panel of comparisons; `chosen(id)` is told which experiment is looked at. Raises what the API raises. */
export async function comparisonPanel(asked, chosen, signal) {
    const { data: experiments } = await listExperiments({ limit: EXPERIMENTS_SHOWN });
    if (experiments.length === 0 && !asked) return empty("No experiment yet.", element("a", { class: "button", href: link("start") }, "Start one"));
    const listed = experiments.some((one) => one.id === asked) || !asked;
    const options = experiments.map((one) => [one.id, `${one.recipe ? `Recipe ${one.recipe}` : "Experiment"} of ${when(one.created_at)}`]);
    const id = asked || experiments[0].id;
    const place = element("div", { class: "view" });
    const show = (one) => fillLater(place, "the comparison", signal, async () => compared(one, await comparisonOf(one)));
    const select = choice(listed ? options : [[asked, asked], ...options], id, (one) => {
        chosen(one);
        show(one);
    });
    show(id);
    return [field("Experiment", select), place];
}

function compared(id, comparison) {
    const { groups, pairs, differing_fields: fields, evaluated_on: on, n_images: images } = comparison;
    const watch = element("a", { class: "button quiet", href: link("watch", { experiment: id }) }, "Watch");
    if (groups.length === 0) return empty("No member has succeeded yet.", watch);
    const figure = chart("Accuracy by group", "Point: mean over the seeds. Bar: 95 % interval of the mean, where there are two seeds or more.", "short");
    const all = element("ul", { class: "said-of" });
    const showPairs = (count) => {
        fill(all, pairs.slice(0, count).map((pair) => element("li", {}, pair.verdict)));
        more.hidden = count >= pairs.length;
    };
    const more = button(`Show all ${pairs.length} pairs`, () => showPairs(pairs.length), { class: "quiet" });
    showPairs(PAIRS_AT_FIRST);
    setTimeout(() => draw(figure, () => intervals(groups)));
    return [
        element(
            "div",
            { class: "row" },
            watch,
            button("Download as CSV", (event) => act(event, async () => saveBlob(await comparisonTableOf(id), `${id}.csv`)), { class: "quiet" }),
            copyAsCurl(() => ({ path: `/experiments/${id}/comparison` })),
        ),
        element("h3", {}, "In words"),
        pairs.length ? all : element("p", {}, "There is only one group: add a scheme to compare it with."),
        more,
        element("div", { class: "columns" }, table(groups, fields, on, images), figure),
    ];
}

function table(groups, fields, on, images) {
    const heads = ["Group", "Seeds", "Accuracy", "95 % interval", "Last loss (nats)", "Steps to loss < 2", ...fields];
    const rows = groups.map((group, index) => {
        const key = element("i", { class: "key", "aria-hidden": "true" });
        key.style.background = styleOf(index).colour;
        const { mean, low, high } = group.accuracy;
        const steps = group.first_step_below_2.map((one) => one ?? "never");
        return element(
            "tr",
            {},
            element("th", { scope: "row" }, key, ` ${group.name}`),
            figureCell(group.seeds.join(", ")),
            figureCell(percent(mean)),
            figureCell(low === null ? "–" : `${percent(low)} to ${percent(high)}`),
            figureCell(number(group.final_train_loss?.mean)),
            figureCell([...new Set(steps)].join(", ")),
            fields.map((name) => figureCell(shown(group.label[name]))),
        );
    });
    const caption = on ? `On ${images.toLocaleString("en")} images of ${on}. Of the specs, only what differs.` : "Evaluated on different images.";
    const head = element("thead", {}, element("tr", {}, heads.map((one) => element("th", { scope: "col" }, one))));
    return scrolled("Groups in rows", "", element("table", {}, element("caption", {}, caption), head, element("tbody", {}, rows)));
}

function figureCell(text) {
    return element("td", { class: "figure" }, text);
}

function shown(value) {
    if (value === null || value === undefined) return "–";
    return Array.isArray(value) && value.length > 4 && new Set(value).size === 1 ? `${value.length} × ${value[0]}` : String(value);
}

function intervals(groups) {
    const traces = groups.flatMap((group, index) => {
        const { colour, marker } = styleOf(index);
        const { mean, low, high } = group.accuracy;
        const point = { x: [errorOf(mean)], y: [group.name], text: [percent(mean)], hovertemplate: "%{text}", mode: "markers", marker: { color: colour, symbol: marker, size: 10 }, name: group.name };
        if (low === null) return [point];
        const bar = { x: [errorOf(low), errorOf(high)], y: [group.name, group.name], mode: "lines", line: { color: colour, width: 3 }, hoverinfo: "skip" };
        return [bar, point];
    });
    return {
        traces,
        layout: { xaxis: accuracyAxis(), yaxis: { autorange: "reversed", type: "category" }, showlegend: false },
        summary: groups.map((group) => `${group.name} ${percent(group.accuracy.mean)}`).join("; "),
    };
}
