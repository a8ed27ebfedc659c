/** Models: the list, the aliases, and one model in detail. */

import { keep, link } from "../lib/address.js";
import { deleteAlias, everyPage, listAliases, listModels, setAlias } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { button, element, fill, pager, tableOf } from "../lib/dom.js";
import { network, percent, shortId, when } from "../lib/format.js";
import { act, empty, fillLater } from "../lib/notices.js";
import { loadCard, modelCard } from "../panels/model_card.js";

const MODELS_A_PAGE = 20;
const MAX_ALIASES = 500;

/** Open the view in a container, until `signal` aborts. */
export function open(container, params, signal) {
  const one = element("section", { class: "card", "aria-label": "Model", hidden: !params.get("model") });
  const aliases = element("section", { class: "card", "aria-label": "Aliases" });
  const all = element("section", { class: "card", "aria-label": "All models" });
  const changed = () => {
    showAliases(aliases, params.get("model"), changed, signal);
    showModels(all, params.get("after") ?? "", signal);
  };
  fill(container, one, all, aliases);
  if (params.get("model"))
    fillLater(
      one,
      "the model",
      signal,
      () => loadCard(params.get("model")),
      (found) => modelCard(found, changed, signal),
    );
  changed();
}

function showModels(card, after, signal) {
  return fillLater(
    card,
    "the models",
    signal,
    () => listModels({ limit: MODELS_A_PAGE, after }),
    (page) => {
      const head = element(
        "div",
        { class: "row apart" },
        element("h1", {}, "Models"),
        copyAsCurl(() => ({ path: link("models", { limit: MODELS_A_PAGE, after }).slice(1) })),
      );
      if (page.data.length === 0 && !after)
        return [head, empty("No model yet.", element("a", { class: "button", href: link("start") }, "Train some"))];
      const turn = (to) => {
        keep({ after: to });
        showModels(card, to, signal);
      };
      return [head, table(page.data), element("div", { class: "row" }, pager(page, after, turn))];
    },
  );
}

function table(models) {
  const heads = ["Model", "Scheme", "Network", "Seed", "Epoch", "Accuracy", "Made"];
  const rows = models.map((model) => {
    const { init, architecture, seed } = model.spec;
    const cells = [
      ["Scheme", init.scheme],
      ["Network", network(architecture)],
      ["Seed", seed],
      ["Epoch", model.epoch],
      ["Accuracy", percent(model.accuracy)],
      ["Made", when(model.created_at)],
    ];
    return element(
      "tr",
      {},
      element("td", {}, element("a", { href: link("models", { model: model.id }) }, shortId(model.id))),
      cells.map(([head, text]) =>
        element("td", { "data-head": head, class: /Seed|Epoch|Acc/.test(head) && "figure" }, String(text)),
      ),
    );
  });
  return tableOf("Models in rows", heads, rows, { kind: "cards", figures: /Seed|Epoch|Accuracy/ });
}

function showAliases(card, model, changed, signal) {
  return fillLater(
    card,
    "the aliases",
    signal,
    () => everyPage(listAliases, {}, MAX_ALIASES),
    (aliases) => {
      const head = element(
        "div",
        { class: "row apart" },
        element("h2", {}, "Aliases"),
        copyAsCurl(() => ({ path: "/aliases" })),
      );
      const about = element(
        "p",
        { class: "faint" },
        "An alias is a name for exactly one checkpoint, which clients can use in place of an id; it can be moved.",
      );
      if (aliases.length === 0) return [head, about, empty("No alias yet. Open a model to give it one.")];
      const rows = aliases.map((one) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, one.name),
          element(
            "td",
            { "data-head": "Means" },
            element("a", { href: link("models", { model: one.model }) }, shortId(one.model)),
          ),
          element("td", { "data-head": "Set" }, when(one.updated_at)),
          element("td", {}, element("span", { class: "row" }, actions(one, model, changed))),
        ),
      );
      return [head, about, tableOf("Aliases in rows", ["Alias", "Means", "Set", "Actions"], rows, { kind: "cards" })];
    },
  );
}

function actions({ name, version, model: present }, model, changed) {
  const move = async () => {
    await setAlias(name, model, { "If-Match": `"${version}"` });
    changed();
  };
  const remove = async () => {
    await deleteAlias(name, version);
    changed();
  };
  return [
    model &&
      model !== present &&
      button(`Move to ${shortId(model)}`, (event) => act(event, move, `${name} is moved.`), { class: "quiet small" }),
    button("Delete", (event) => act(event, remove, `${name} is deleted.`), {
      class: "quiet small",
      "aria-label": `Delete alias ${name}`,
    }),
  ];
}
