/** Start: choose a network, schemes, seeds and epochs, look at what the schemes make of the network, and train. */

import { go, keep } from "../lib/address.js";
import { estimate, listDatasets, listSchemes, submitExperiment } from "../lib/api.js";
import { copyAsCurl } from "../lib/curl.js";
import { choice, element, field, fill } from "../lib/dom.js";
import { counted, duration, network } from "../lib/format.js";
import { randomKey } from "../lib/idempotency_key.js";
import { failure, fillLater } from "../lib/notices.js";
import { previewPanel } from "../panels/preview_panel.js";
import { schemePicker, schemesFromAddress, schemesToAddress } from "../panels/scheme_picker.js";

const NETWORKS = [
  ["thirty", "784-30 × 100-10, ReLU, SGD .01: where schemes part"],
  ["mnist_nn_xavier", "mnist_nn_xavier: 784-256-256-10, first notebook"],
  ["mnist_nn_deep", "mnist_nn_deep: 784-512-512-512-512-10, second"],
  ["own", "a network of my own"],
];
const THIRTY = {
  architecture: { hidden: Array(30).fill(100), activation: "relu" },
  optimizer: { name: "sgd", lr: 0.01 },
};
const EPOCHS_OF_5K = "30"; // as many steps as 2 epochs of the full MNIST
const ACTIVATIONS = ["relu", "tanh", "scaled_tanh", "sigmoid", "softsign", "leaky_relu", "selu", "gelu", "identity"];
const USUAL = {
  network: "thirty",
  depth: "10",
  width: "128",
  activation: "relu",
  inputs: "zero_to_one",
  schemes: "zeros,torch_default,xavier_uniform,he_normal",
  seeds: "0",
  epochs: "2",
  rates: "",
  data: "",
};
const HELD_OUT = { mnist: 10_000, mnist_5k: 1000 }; // validation images, where rates are chosen
const SETTLE_MS = 350;
const SEEDS = "\\s*\\d+(\\s*-\\s*\\d+)?(\\s*,\\s*\\d+(\\s*-\\s*\\d+)?)*\\s*";
const MOST_SEEDS = 1001; // the service refuses more members than 1,000, and says so
const RATES = 7; // that "auto" stands for
const MOST_LAYERS = 256; // the service refuses one more, and says so

/** Open the view in a container, until `signal` aborts. */
export function open(container, params, signal) {
  const load = () => Promise.all([listSchemes(), listDatasets()]);
  fillLater(container, "the schemes", signal, load, ([schemes, datasets]) =>
    page(schemes.data, datasets.data, params, signal),
  );
}

function page(schemes, datasets, params, signal) {
  const usual = isOnMnist(datasets) ? USUAL : { ...USUAL, epochs: EPOCHS_OF_5K, data: "mnist_5k" };
  /** @type {any} */
  const state = Object.fromEntries(Object.keys(usual).map((name) => [name, params.get(name) ?? usual[name]]));
  let settling = 0;
  let isOpen = false;
  let turn = 0;
  const changed = () => {
    const chosen = picker.chosen();
    if (isOpen) keep({ ...different(state, usual), ...schemesToAddress(chosen) });
    own.hidden = state.network !== "own";
    const models = chosen.length * seedsOf(state).length * (state.rates ? RATES : 1);
    submit.textContent = models ? `Train ${counted(models, "model")}` : "Train";
    submit.disabled = models === 0;
    clearTimeout(settling);
    const mine = ++turn;
    const isOld = () => signal.aborted || mine !== turn;
    settling = setTimeout(() => look(state, chosen, panel, told, isOld), isOpen ? SETTLE_MS : 0);
  };
  const set = (name) => (value) => {
    state[name] = value;
    changed();
  };
  const picker = schemePicker(schemes, schemesFromAddress(params, USUAL.schemes), changed);
  const panel = previewPanel(signal);
  const told = element("p", { class: "faint", role: "status" });
  const submit = element("button", {}, "Train");
  const own = ownNetwork(state, set);
  const form = formOf(state, { datasets, picker, own, told, submit, set }, signal);
  changed();
  isOpen = true;
  const before = element(
    "section",
    { class: "card", "aria-label": "Before training" },
    element("h2", {}, "Before training"),
    panel.node,
  );
  return element("div", { class: "columns" }, form, before);
}

function input(state, set, name, attributes) {
  return element("input", {
    name,
    value: state[name],
    required: true,
    oninput: (event) => set(name)(event.target.value),
    ...attributes,
  });
}

/** Return the fields of a network of one's own. */
function ownNetwork(state, set) {
  return element(
    "div",
    { class: "row" },
    field("hidden layers", input(state, set, "depth", { type: "number", min: 1, max: MOST_LAYERS })),
    field("units in each", input(state, set, "width", { type: "number", min: 1, max: 8192 })),
    field(
      "activation",
      choice(
        ACTIVATIONS.map((name) => [name, name]),
        state.activation,
        set("activation"),
      ),
    ),
    field(
      "inputs",
      choice(
        [
          ["zero_to_one", "pixels 0 to 1"],
          ["standardized", "standardized: mean 0, variance 1"],
        ],
        state.inputs,
        set("inputs"),
      ),
    ),
  );
}

function formOf(state, { datasets, picker, own, told, submit, set }, signal) {
  const refused = element("div");
  const held = isOnMnist(datasets) ? HELD_OUT.mnist : HELD_OUT.mnist_5k;
  const request = () => requestOf(state, picker.chosen(), held);
  const seeds = input(state, set, "seeds", {
    pattern: SEEDS,
    title: "whole numbers with commas between them, or ranges such as 0-4",
  });
  const epochs = input(state, set, "epochs", { type: "number", min: 0, max: 10000 });
  return element(
    "form",
    {
      class: "card",
      onsubmit: (event) => start(event, request(), submit, refused, signal),
      oninput: () => fill(refused),
    },
    element("h1", {}, "What does initialization do?"),
    element("p", {}, "Train the same network from several schemes, and compare their curves."),
    notOnMnist(datasets),
    field("Network", choice(NETWORKS, state.network, set("network"), { name: "network" })),
    own,
    element("fieldset", {}, element("legend", {}, "Schemes"), picker.node),
    element(
      "div",
      { class: "row" },
      field("Seeds", seeds, "one model for each: 0,1,2 or 0-2"),
      field("Epochs", epochs, "passes over the training images"),
      field(
        "Learning rate",
        choice(
          [
            ["", "the network's own"],
            ["auto", "each scheme's best of seven"],
          ],
          state.rates,
          set("rates"),
          { name: "rates" },
        ),
      ),
    ),
    element(
      "div",
      { class: "row" },
      submit,
      copyAsCurl(() => ({ method: "POST", path: "/experiments", body: request() })),
    ),
    told,
    refused,
  );
}

function different(state, usual) {
  return Object.fromEntries(Object.entries(state).map(([name, value]) => [name, value === usual[name] ? null : value]));
}

function isOnMnist(datasets) {
  return datasets.some(({ name, available }) => name === "mnist" && available);
}

function notOnMnist(datasets) {
  const mnist = datasets.find(({ name }) => name === "mnist");
  return mnist?.available
    ? null
    : element(
        "p",
        { class: "notice" },
        `The full MNIST is not on this machine: ${mnist?.detail ?? ""} Until then models learn from 5,000 real digits.`,
      );
}

/** Return the body of POST /experiments for what the form says. */
function requestOf(state, schemes, held) {
  const sweep = state.rates ? { rates: state.rates } : {};
  return {
    base: state.rates ? { ...baseOf(state), validation_images: held } : baseOf(state),
    ...sweep,
    schemes: schemes.map((one) => (Object.keys(one).length > 1 ? one : one.scheme)),
    seeds: seedsOf(state),
  };
}

/** Return the seeds in "0, 2, 5-7"; none if a part of it is no seed. */
function seedsOf({ seeds }) {
  if (!new RegExp(`^${SEEDS}$`).test(seeds)) return [];
  const found = new Set();
  for (const part of seeds.split(",")) {
    const [first, last = first] = part.split("-").map(Number);
    for (let seed = first; seed <= last && found.size < MOST_SEEDS; seed += 1) found.add(seed);
  }
  return [...found];
}

function baseOf({ network: chosen, depth, width, activation, inputs, epochs, data }) {
  const common = { epochs: Number(epochs), test_curve: true, ...(data && { data }) };
  if (chosen === "thirty") return { ...THIRTY, ...common };
  if (chosen !== "own") return { preset: chosen, ...common };
  return {
    architecture: {
      hidden: Array(Math.min(MOST_LAYERS + 1, Number(depth) || 1)).fill(Number(width)),
      activation,
      ...(inputs !== USUAL.inputs && { inputs }),
    },
    ...common,
  };
}

/** Ask the service what the request would be, tell it, and show the schemes' previews on that network. */
async function look(state, schemes, panel, told, isOld) {
  const seeds = seedsOf(state);
  if (schemes.length === 0 || seeds.length === 0) {
    told.textContent = seeds.length
      ? "Choose at least one scheme."
      : "Seeds are whole numbers with commas between them, or ranges such as 0-4.";
    panel.show([]);
    return;
  }
  try {
    const found = await Promise.all(schemes.map((init) => estimate({ ...baseOf(state), init, seed: seeds[0] })));
    if (isOld()) return;
    const { spec, parameter_count: parameters } = found[0];
    told.textContent = `${network(spec.architecture)}: ${parameters.toLocaleString("en")} parameters.${timeOf(found.map((one) => one.estimated_duration_s))}`;
    const body = { architecture: spec.architecture, seed: seeds[0] };
    panel.show(schemes.map((init) => ({ name: nameOf(init), init, body })));
  } catch (error) {
    if (isOld()) return;
    fill(told, failure(error));
    panel.show([]);
  }
}

function timeOf(seconds) {
  if (seconds.includes(null)) return "";
  const [least, most] = [Math.min(...seconds), Math.max(...seconds)].map(duration);
  return ` About ${least === most ? least : `${least} to ${most}`} each on this service.`;
}

function nameOf({ scheme, ...parameters }) {
  return [scheme, ...Object.entries(parameters).map(([name, value]) => `${name} ${value}`)].join(", ");
}

let submission = null;

async function start(event, body, submit, refused, signal) {
  event.preventDefault();
  const text = JSON.stringify(body);
  if (submission?.text !== text) submission = { text, key: randomKey() };
  submit.disabled = true;
  try {
    const experiment = await submitExperiment(body, submission.key);
    submission = null;
    if (!signal.aborted) go("watch", { experiment: experiment.id });
  } catch (error) {
    fill(refused, failure(error));
    submit.disabled = false;
  }
}
