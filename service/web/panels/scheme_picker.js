/** Choosing schemes, each with its formula, its source and its parameters, as the API describes them. */

import { element, field, fill } from "../lib/dom.js";

const LETTERS =
  "W: the weights of a layer. n (fan_in): the inputs of the layer. m (fan_out): its outputs. f: n or m, by the parameter mode. " +
  "g: the gain, a factor that makes up for the activation. U(a, b): uniform from a to b. N(μ, σ²): normal, of mean μ and variance σ².";

const IDEAS = [
  { idea: "All units alike", names: ["zeros", "constant"] },
  { idea: "One size for all layers", names: ["normal", "uniform", "trunc_normal"] },
  { idea: "Size from both fans (Xavier)", names: ["xavier_uniform", "xavier_normal"] },
  {
    idea: "Size from fan-in (LeCun, He)",
    names: ["lecun_uniform", "lecun_normal", "he_uniform", "he_normal", "random_walk"],
  },
  { idea: "Rules of libraries", names: ["glorot_standard", "torch_default", "variance_scaling"] },
  { idea: "Structure", names: ["identity", "orthogonal", "sparse_torch", "sparse_martens"] },
];
const OTHERS = "Learned from the images";

/**
 * Return {node, chosen}: chips for all schemes, and a card for each chosen one. `chosen()` gives what a request says of them:
 * [{scheme, ...parameters that differ from their defaults}]. `changed` is called after every change.
 */
export function schemePicker(known, initial, changed) {
  const groups = groupsOf(known);
  const schemes = groups.flatMap(({ members }) => members);
  const given = new Map(initial.map(({ scheme, ...parameters }) => [scheme, parameters]));
  const cards = element("div", { class: "view" });
  const chip = (scheme) => {
    const box = element("input", {
      type: "checkbox",
      name: "scheme",
      value: scheme.name,
      checked: given.has(scheme.name),
      onchange: () => {
        if (box.checked) given.set(scheme.name, {});
        else given.delete(scheme.name);
        showCards();
        changed();
      },
    });
    return element("label", { class: "chip" }, box, scheme.title);
  };
  const showCards = () =>
    fill(
      cards,
      schemes.filter((scheme) => given.has(scheme.name)).map((scheme) => card(scheme, given.get(scheme.name), changed)),
    );
  showCards();
  return {
    node: element(
      "div",
      { class: "view" },
      groups.map(({ idea, members }) =>
        element(
          "div",
          { class: "chips", role: "group", "aria-label": idea },
          element("small", { class: "idea" }, idea),
          members.map(chip),
        ),
      ),
      cards,
      element("small", {}, LETTERS),
    ),
    chosen: () =>
      schemes.filter(({ name }) => given.has(name)).map(({ name }) => ({ scheme: name, ...given.get(name) })),
  };
}

/** Return the schemes by the idea behind them, as {idea, members}; those of no other group are the last one. */
function groupsOf(schemes) {
  const byName = new Map(schemes.map((scheme) => [scheme.name, scheme]));
  const groups = IDEAS.map(({ idea, names }) => ({
    idea,
    members: names.map((name) => byName.get(name)).filter(Boolean),
  }));
  const named = new Set(IDEAS.flatMap(({ names }) => names));
  return [...groups, { idea: OTHERS, members: schemes.filter(({ name }) => !named.has(name)) }];
}

function card(scheme, parameters, changed) {
  return element(
    "div",
    { class: "scheme" },
    element("h3", {}, scheme.title),
    element("p", {}, scheme.summary),
    element("p", { class: "formula" }, scheme.formula),
    element("small", {}, `Source: ${scheme.source}`),
    element(
      "details",
      { open: Object.keys(parameters).length > 0 },
      element("summary", {}, "Parameters"),
      element(
        "div",
        { class: "parameters" },
        scheme.parameters.map((one) => parameterField(one, parameters, changed)),
      ),
    ),
  );
}

function parameterField(parameter, values, changed) {
  const { name, description, default: usual } = parameter;
  const set = (value) => {
    if (value === usual || value === "" || Number.isNaN(value)) delete values[name];
    else values[name] = value;
    changed();
  };
  const value = values[name] ?? usual;
  return field(name, controlOf(parameter, value, set), description);
}

function controlOf(
  { types, choices, minimum, exclusive_minimum: above, maximum, exclusive_maximum: below },
  value,
  set,
) {
  if (types.includes("boolean")) {
    return element("input", { type: "checkbox", checked: value, onchange: (event) => set(event.target.checked) });
  }
  if (choices && !types.includes("number")) {
    const options = choices.map((one) => element("option", { value: one, selected: one === value }, one));
    return element("select", { onchange: (event) => set(event.target.value) }, options);
  }
  if (choices) {
    const text = element("input", {
      value,
      size: 8,
      onchange: () => set(text.value === "" || Number.isNaN(Number(text.value)) ? text.value : Number(text.value)),
    });
    text.title = `a number, or ${choices.join(", ")}`;
    return text;
  }
  const step = types.includes("integer") ? 1 : "any";
  const limits = { min: minimum ?? above, max: maximum ?? below, step };
  return element("input", { type: "number", value, ...limits, onchange: (event) => set(event.target.valueAsNumber) });
}

/** Return the chosen schemes as two parameters of the address: names ("none" for none), and the parameters of each. */
export function schemesToAddress(chosen) {
  const set = chosen.filter((one) => Object.keys(one).length > 1);
  return {
    schemes: chosen.map(({ scheme }) => scheme).join(",") || "none",
    set: set.length ? JSON.stringify(set) : null,
  };
}

/** Return what `schemesToAddress` has written, or `usual` if the address says nothing that can be read. */
export function schemesFromAddress(params, usual) {
  const names = (params.get("schemes") ?? usual).split(",").filter((name) => name && name !== "none");
  let set = [];
  try {
    set = JSON.parse(params.get("set") ?? "[]");
  } catch {
    // an address that somebody has cut: the schemes' defaults are as good
  }
  return names.map((scheme) => ({
    ...(Array.isArray(set) ? set.find((one) => one?.scheme === scheme) : null),
    scheme,
  }));
}
