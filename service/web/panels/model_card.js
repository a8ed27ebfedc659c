/** One model in detail: its accuracy, a new alias, its files, and its deletion. */

import { summary } from "../charts/confusion_matrix.js";
import { go, link } from "../lib/address.js";
import { deleteJob, evaluationOf, getModel, setAlias, weightsOf } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { button, element, field, fill, say } from "../lib/dom.js";
import { saveBlob } from "../lib/download.js";
import { bytes, network, when } from "../lib/format.js";
import { act, failure } from "../lib/notices.js";

const FORMATS = ["safetensors", "npz", "onnx"];

/** Load a model and its evaluation, or why there is none. */
export async function loadCard(id) {
  const model = await getModel(id);
  const evaluation = await evaluationOf(id).catch((error) => error);
  return { id, model, evaluation };
}

/** Return the card of a model; `changed` is called after something about the list of models has changed. */
export function modelCard({ id, model, evaluation }, changed, signal) {
  const { init, architecture, seed, optimizer } = model.spec;
  const facts = [
    `${init.scheme}, ${network(architecture)}, seed ${seed}, ${optimizer.name}`,
    `${model.parameter_count.toLocaleString("en")} parameters, ${bytes(model.weights_bytes)}`,
    `epoch ${model.epoch}${model.final ? "" : " (not its last)"}, made ${when(model.created_at)}`,
  ];
  return [
    element(
      "div",
      { class: "row apart" },
      element("h2", {}, model.id),
      copyAsCurl(() => ({ path: `/models/${id}` })),
    ),
    element("p", { class: "faint" }, facts.join("; ")),
    evaluation instanceof Error ? failure(evaluation) : summary(evaluation, id),
    element(
      "div",
      { class: "row" },
      element("a", { class: "button", href: link("try", { models: id }) }, "Try it"),
      element(
        "a",
        { class: "button quiet", href: link("understand", { part: "weights", model: id }) },
        "Its first weights",
      ),
      element(
        "a",
        { class: "button quiet", href: link("understand", { part: "mistakes", model: id }) },
        "Its mistakes",
      ),
      element("a", { class: "button quiet", href: link("watch", { jobs: model.job_id }) }, "How it learned"),
    ),
    element(
      "div",
      { class: "row" },
      "Download:",
      FORMATS.map((format) =>
        button(
          format,
          (event) =>
            act(
              event,
              async () => saveBlob(await weightsOf(id, format), `${id}.${format}`),
              `${format} is downloaded.`,
            ),
          { class: "quiet small", "aria-label": `Download as ${format}` },
        ),
      ),
    ),
    aliasForm(id, changed),
    element(
      "div",
      { class: "row" },
      button("Delete it", (event) => act(event, () => deleteAfterAsking(model.job_id, changed, signal)), {
        class: "quiet",
      }),
    ),
  ];
}

function aliasForm(id, changed) {
  const name = element("input", {
    required: true,
    pattern: "[a-z][a-z0-9\\-]{0,62}",
    title: "lower-case letters, digits and dashes",
    placeholder: "champion",
  });
  const refused = element("span");
  const set = async (event) => {
    event.preventDefault();
    fill(refused);
    try {
      await setAlias(name.value, id, { "If-None-Match": "*" });
      say("The alias is set.");
      changed();
    } catch (error) {
      fill(refused, failure(error));
    }
  };
  return element(
    "form",
    { class: "row", onsubmit: set },
    field("Give it a new alias", name),
    element("button", {}, "Set"),
    refused,
  );
}

async function deleteAfterAsking(jobId, changed, signal) {
  if (!confirm(`Delete ${jobId} with its model, all its checkpoints and its measurements? This cannot be undone.`))
    return;
  await deleteJob(jobId);
  if (signal.aborted) return;
  go("models");
  changed();
}
