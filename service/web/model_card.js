/** One model in full: how good it is, its aliases, its files, and its end. */

import { go, link } from "./address.js";
import { deleteJob, evaluationOf, getModel, setAlias, weightsOf } from "./api.js";
import { summary } from "./confusion.js";
import { copyAsCurl } from "./curl.js";
import { button, element, field } from "./dom.js";
import { saveBlob } from "./download.js";
import { bytes, layers, when } from "./format.js";
import { act, failure } from "./notices.js";

const FORMATS = ["safetensors", "npz", "onnx"];

/** Return the card of a model; `changed` is called after something about the list of models has changed. */
export async function modelCard(id, changed) {
    const model = await getModel(id);
    const evaluation = await evaluationOf(id).then((found) => summary(found, id)).catch(failure);
    const { init, architecture, seed, optimizer } = model.spec;
    const facts = [
        `${init.scheme}, ${layers(architecture.hidden)}, ${architecture.activation}, seed ${seed}, ${optimizer.name}`,
        `${model.parameter_count.toLocaleString("en")} parameters, ${bytes(model.weights_bytes)}`,
        `epoch ${model.epoch}${model.final ? "" : " (not its last)"}, made ${when(model.created_at)}`,
    ];
    return [
        element("div", { class: "row apart" }, element("h2", {}, model.id), copyAsCurl(() => ({ path: `/models/${id}` }))),
        element("p", { class: "faint" }, facts.join("; ")),
        evaluation,
        element(
            "div",
            { class: "row" },
            element("a", { class: "button", href: link("try", { models: id }) }, "Try it"),
            element("a", { class: "button quiet", href: link("understand", { part: "weights", model: id }) }, "Its first weights"),
            element("a", { class: "button quiet", href: link("understand", { part: "mistakes", model: id }) }, "Its mistakes"),
            element("a", { class: "button quiet", href: link("watch", { jobs: model.job_id }) }, "How it learned"),
        ),
        element("div", { class: "row" }, "Download:", FORMATS.map((format) => button(format, (event) => act(event, async () => saveBlob(await weightsOf(id, format), `${id}.${format}`), `${format} is downloaded.`), { class: "quiet small", "aria-label": `Download as ${format}` }))),
        aliasForm(id, changed),
        element("div", { class: "row" }, button("Delete it", (event) => act(event, () => deleteAfterAsking(model.job_id, changed)), { class: "quiet" })),
    ];
}

function aliasForm(id, changed) {
    const name = element("input", { required: true, pattern: "[a-z][a-z0-9\\-]{0,62}", title: "lower-case letters, digits and dashes", placeholder: "champion" });
    const place = element("span", { class: "row" }, field("Give it a new alias", name), button("Set", (event) => act(event, () => set(), "The alias is set.")));
    const set = async () => {
        if (!name.reportValidity()) return;
        await setAlias(name.value, id, { "If-None-Match": "*" });
        changed();
    };
    return place;
}

async function deleteAfterAsking(jobId, changed) {
    if (!confirm(`Delete ${jobId} with its model, all its checkpoints and what was measured? This cannot be undone.`)) return;
    await deleteJob(jobId);
    go("models");
    changed();
}
