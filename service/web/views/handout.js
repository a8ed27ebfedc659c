/** One experiment on one page, to print or to keep as a file: what was trained, curves, layers, comparison, sources. */

import { curvesPanel } from "../charts/curves.js";
import { layerMaps } from "../charts/layer_maps.js";
import { link } from "../lib/address.js";
import { comparisonOf, eventsOfExperiment, everyPage, getExperiment, listSchemes } from "../lib/api.js";
import { button, element } from "../lib/dom.js";
import { saveBlob } from "../lib/download.js";
import { counted, when } from "../lib/format.js";
import { firstsOfGroups, newHistory, take } from "../lib/job_timeline.js";
import { act, fillLater } from "../lib/notices.js";
import { staticPageOf } from "../lib/static_page.js";
import { compared } from "../panels/comparison.js";
import { labelsOf } from "../panels/description.js";

const MAX_EVENTS = 20_000;

/** Open the view in a container, until `signal` aborts. */
export function open(container, params, signal) {
  const id = params.get("experiment");
  const load = async () => {
    if (!id) throw new Error("Open an experiment in Watch first: it has a link to its handout.");
    return Promise.all([
      getExperiment(id),
      comparisonOf(id),
      listSchemes(),
      everyPage((query) => eventsOfExperiment(id, query), {}, MAX_EVENTS),
    ]);
  };
  fillLater(container, "the handout", signal, load, (loaded) => page(loaded, container, params, signal));
}

function page([experiment, comparison, schemes, events], container, params, signal) {
  const history = newHistory(experiment.members.map(({ job_id: id, state }) => ({ id, state })));
  for (const event of events) take(history, event);
  const curves = curvesPanel(signal);
  const maps = layerMaps(params, signal);
  setTimeout(() => {
    curves.show(history, experiment.members);
    maps.show(firstsOfGroups(experiment.members, history));
  });
  const save = async () => {
    const text = await staticPageOf(container, experiment.name);
    saveBlob(new Blob([text], { type: "text/html" }), `${experiment.id}.html`);
  };
  const buttons = element(
    "span",
    { class: "row" },
    button("Save as a file", (event) => act(event, save, "The handout is saved."), { class: "quiet" }),
    button("Print", () => print(), { class: "quiet" }),
    element("a", { class: "button quiet", href: link("watch", { experiment: experiment.id }) }, "Watch"),
  );
  return [
    element(
      "section",
      { class: "card", "aria-label": "What was trained" },
      element("div", { class: "row apart" }, element("h1", {}, experiment.name), buttons),
      element(
        "p",
        { class: "faint" },
        `${counted(experiment.members.length, "model")}, submitted ${when(experiment.created_at)}. `,
        labelsOf(experiment.labels),
      ),
      experiment.note && element("p", { class: "note" }, experiment.note),
      deviceOf(history),
      element("details", {}, element("summary", {}, "The request"), requestOf(experiment)),
    ),
    card(
      "Comparison",
      compared(experiment, comparison, () => open(container, params, signal)),
    ),
    card("How they learn", curves.node),
    card("What happens in the layers", element("p", { class: "faint" }, "Of the first seed of each group."), maps.node),
    card("Schemes and sources", sourcesOf(experiment, schemes.data)),
  ];
}

function card(title, ...content) {
  return element("section", { class: "card", "aria-label": title }, element("h2", {}, title), content);
}

function requestOf({ request }) {
  return element("pre", {}, JSON.stringify(request, null, 2));
}

function deviceOf(history) {
  const device = [...history.values()].map((job) => job.device).find(Boolean);
  return (
    device &&
    element("p", { class: "faint" }, `Trained on ${device.device_name}, torch ${device.torch}, data ${device.data}.`)
  );
}

/** Return formula and source of each scheme of the members, whose names begin with it. */
function sourcesOf({ members }, schemes) {
  const used = new Set(members.map(({ name }) => name.split(",")[0]));
  return schemes
    .filter(({ name }) => used.has(name))
    .map(({ title, formula, source }) =>
      element("p", {}, element("strong", {}, `${title}: `), formula, element("small", {}, ` Source: ${source}`)),
    );
}
