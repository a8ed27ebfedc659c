/** The first layer's weights as pictures: one 28x28 tile for each unit, blue where it holds back, orange where it drives. */

import { checkpointsOf, getModel } from "./api.js";
import { copyAsCurl } from "./curl.js";
import { button, element, field, fill } from "./dom.js";
import { number } from "./format.js";
import { failure } from "./notices.js";
import { diverging } from "./palette.js";
import { tensorOf } from "./safetensors.js";

const SIDE = 28;
const PIXELS = SIDE * SIDE;
const TILES_A_PAGE = 64;
const CLIP = 0.995; // the share of weights that the colours span; the few beyond are drawn at the ends

/** Return the panel of a model's first weights over its epochs. Raises what the API raises. */
export async function weightTiles(modelId, signal) {
    const model = await getModel(modelId);
    const checkpoints = (await checkpointsOf(model.job_id)).data.filter((one) => one.model !== null);
    const epochs = checkpoints.map((one) => one.epoch).sort((one, other) => one - other);
    const state = { epoch: model.epoch, page: 0, strongestFirst: false };
    const place = element("div", { class: "view" });
    const told = element("output", {}, String(state.epoch));
    let turn = 0;
    async function showEpoch() {
        const mine = ++turn;
        told.textContent = `${state.epoch}${state.epoch === 0 ? ": before training" : ""}`;
        try {
            const { shape, values } = await tensorOf(`${model.job_id}@${state.epoch}`, "layers.0.weight");
            if (mine === turn && !signal.aborted) fill(place, tiles(values, shape[0], state, showEpoch));
        } catch (error) {
            if (mine === turn && !signal.aborted) fill(place, failure(error, showEpoch));
        }
    }
    const slider = element("input", {
        type: "range",
        min: 0,
        max: epochs.length - 1,
        value: epochs.indexOf(state.epoch),
        oninput: () => {
            state.epoch = epochs[slider.valueAsNumber];
            showEpoch();
        },
    });
    const strongest = element("input", {
        type: "checkbox",
        onchange: (event) => {
            state.strongestFirst = event.target.checked;
            state.page = 0;
            showEpoch();
        },
    });
    const isDbn = model.spec.init.scheme === "dbn";
    await showEpoch();
    return [
        element(
            "div",
            { class: "row" },
            field("Epoch", element("span", { class: "row" }, slider, told)),
            element("label", { class: "check" }, strongest, "strongest first"),
            copyAsCurl(() => ({ path: `/models/${model.job_id}@${state.epoch}/weights?format=safetensors` })),
        ),
        isDbn && element("p", { class: "faint" }, "This model was pre-trained: the tiles of epoch 0 are the filters of the first restricted Boltzmann machine."),
        place,
    ];
}

function tiles(values, units, state, again) {
    const order = Array.from({ length: units }, (_, unit) => unit);
    if (state.strongestFirst) {
        const norms = order.map((unit) => values.subarray(unit * PIXELS, (unit + 1) * PIXELS).reduce((sum, one) => sum + one * one, 0));
        order.sort((one, other) => norms[other] - norms[one]);
    }
    const limit = spanOf(values);
    const first = state.page * TILES_A_PAGE;
    const shown = order.slice(first, first + TILES_A_PAGE);
    const turnBy = (pages) => () => {
        state.page += pages;
        again();
    };
    return [
        limit === 0 ? element("p", {}, "Every weight is exactly 0: there is nothing to see, and nothing that tells one unit from another.") : scaleOf(limit),
        element("div", { class: "tiles" }, shown.map((unit) => tile(values.subarray(unit * PIXELS, (unit + 1) * PIXELS), limit, unit))),
        element(
            "div",
            { class: "row" },
            element("span", { class: "faint" }, `Units ${first + 1} to ${first + shown.length} of ${units}.`),
            state.page > 0 && button("Before", turnBy(-1), { class: "quiet small" }),
            first + TILES_A_PAGE < units && button("Next", turnBy(1), { class: "quiet small" }),
        ),
    ];
}

function spanOf(values) {
    const sizes = Float32Array.from(values, Math.abs).sort();
    return sizes[Math.floor(CLIP * (sizes.length - 1))] || sizes.at(-1);
}

function tile(weights, limit, unit) {
    const canvas = element("canvas", { class: "tile pixels", width: SIDE, height: SIDE, role: "img", "aria-label": `Weights of unit ${unit + 1}` });
    const context = canvas.getContext("2d");
    const image = context.createImageData(SIDE, SIDE);
    for (let pixel = 0; pixel < PIXELS; pixel += 1) image.data.set([...diverging(weights[pixel] / (limit || 1)), 255], 4 * pixel);
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
