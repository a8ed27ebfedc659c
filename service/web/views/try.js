/** Try: draw a digit, or bring a picture of one, and read what several models make of it. */

import { keep, link, list } from "../lib/address.js";
import { listDatasets, predict, testDigit } from "../lib/api.js";
import { answerBars } from "../charts/probability_bars.js";
import { copyAsCurl } from "../lib/curl.js";
import { button, element, fill } from "../lib/dom.js";
import { board, pictureOf } from "../panels/drawing_board.js";
import { percent } from "../lib/format.js";
import { choosableModels } from "../panels/model_picker.js";
import { act, empty, failure, fillLater } from "../lib/notices.js";

const MAX_MODELS = 16;
const MODELS_AT_FIRST = 12;
const EMPTY = { kind: "empty" };

/** Open the view in a container, until `signal` aborts. */
export function open(container, params, signal) {
  const load = () => Promise.all([choosableModels(), listDatasets()]);
  fillLater(container, "the models", signal, load, ([models, datasets]) => {
    if (models.length === 0) return empty("No model yet: train one first.", element("a", { class: "button", href: link("start") }, "Start"));
    const dataset = datasets.data.find((one) => one.available)?.name;
    return page(models, dataset, params, signal);
  });
}

function page(models, dataset, params, signal) {
  const asked = list(params, "models").slice(0, MAX_MODELS);
  const state = { models: asked.length ? asked : ["latest"], isFitted: params.get("fit") !== "no", source: EMPTY };
  const seen = element("div", { class: "view" });
  const answers = element("div", { class: "view" });
  const spoken = element("p", { class: "faint", role: "status" });
  const ask = asker(state, { seen, answers, spoken }, signal);
  const pen = board((isDone) => {
    if (state.source.kind !== "drawing") {
      state.source = { kind: "drawing" };
      keep({ digit: null });
    }
    ask(isDone);
  });
  state.board = pen;
  const use = (source) => {
    state.source = source;
    keep({ digit: source.kind === "digit" ? source.index : null });
    return ask(true);
  };
  const takeFile = async (file) => {
    try {
      pen.paint(await createImageBitmap(file));
    } catch {
      pen.clear(); // no picture that a browser knows; the service says what is wrong with it
    }
    await use({ kind: "file", file });
  };
  const takeDigit = async (index) => {
    const digit = await testDigit(dataset, index);
    if (signal.aborted) return;
    pen.paint(pictureOf(digit.pixels));
    await use({ kind: "digit", ...digit });
  };
  const clear = () => {
    pen.clear();
    upload.value = "";
    state.source = EMPTY;
    keep({ digit: null });
    for (const place of [seen, answers, spoken]) fill(place);
  };
  takeDropsAndPastes(pen.node, takeFile, signal);
  const upload = element("input", { type: "file", accept: "image/*", "aria-label": "Upload a picture of a digit", onchange: (event) => event.target.files[0] && takeFile(event.target.files[0]) });
  const fit = element("input", {
    type: "checkbox",
    checked: state.isFitted,
    onchange: () => {
      state.isFitted = fit.checked;
      keep({ fit: fit.checked ? null : "no" });
      ask(true);
    },
  });
  if (params.get("digit") && dataset) takeDigit(params.get("digit")).catch((error) => fill(answers, failure(error)));
  const tools = element(
    "div",
    { class: "row" },
    button("Clear", clear, { class: "quiet" }),
    dataset && button("Random test digit", (event) => act(event, () => takeDigit("random"))),
    copyAsCurl(() => ({ method: "POST", path: `/predict?models=${state.models.join(",")}${state.isFitted && state.source.kind !== "digit" ? "&fit=true" : ""}`, file: "digit.png" })),
  );
  const left = element(
    "div",
    { class: "view" },
    pen.node,
    tools,
    element("label", { class: "field" }, element("span", {}, "or a picture: upload, drop on the board, or paste"), upload),
    element("label", { class: "check" }, fit, "crop, scale and centre it as MNIST was made"),
  );
  const right = element("div", { class: "view" }, spoken, element("h2", {}, "What the network saw"), seen, element("h2", {}, "What models say"), answers);
  return [
    element("section", { class: "card", "aria-label": "Digit" }, element("h1", {}, "Draw a digit"), element("div", { class: "board" }, left, right)),
    element("section", { class: "card", "aria-label": "Models" }, modelChips(models, state, ask)),
  ];
}

function modelChips(models, state, ask) {
  const known = [...models];
  for (const id of state.models) if (!known.some((one) => one.id === id)) known.unshift({ id, text: id });
  const first = known.filter((one, index) => index < MODELS_AT_FIRST || state.models.includes(one.id));
  const place = element("div", { class: "chips" });
  const limit = () => {
    for (const box of place.querySelectorAll("input")) box.disabled = !box.checked && state.models.length >= MAX_MODELS;
  };
  const show = (shown) => {
    fill(
      place,
      shown.map(({ id, text }) => {
        const box = element("input", {
          type: "checkbox",
          checked: state.models.includes(id),
          onchange: () => {
            state.models = box.checked ? [...state.models, id] : state.models.filter((one) => one !== id);
            keep({ models: state.models.join(",") });
            limit();
            ask(true);
          },
        });
        return element("label", { class: "chip" }, box, text);
      }),
      shown.length < known.length && button(`Show all ${known.length}`, () => show(known), { class: "quiet small" }),
    );
    limit();
  };
  show(first);
  return element("fieldset", {}, element("legend", {}, `Ask up to ${MAX_MODELS} models`), place);
}

/**
 * Return a function that asks the models about what is there now: one request at a time, and the newest state last. The answer is
 * said to screen readers once the pen is lifted.
 */
function asker(state, places, signal) {
  let isAsking = false;
  let isWanted = false;
  let isSpoken = false;
  return async function ask(isDone) {
    isWanted = true;
    isSpoken = isDone;
    if (isAsking) return;
    isAsking = true;
    while (isWanted && !signal.aborted) {
      isWanted = false;
      await askOnce(state, places, isSpoken, signal);
    }
    isAsking = false;
  };
}

async function askOnce(state, { seen, answers, spoken }, isSpoken, signal) {
  const { source } = state;
  if (source === EMPTY || (source.kind === "drawing" && state.board.isBlank())) return undefined;
  if (state.models.length === 0) return void fill(answers, empty("Choose at least one model."));
  const isOld = () => signal.aborted || state.source !== source;
  try {
    const { content, type, pixels, isFitted } = contentOf(state);
    const found = await predict(content, type, { models: state.models.join(","), fit: isFitted || null });
    if (isOld()) return undefined;
    const { label = null } = source;
    const picture = found.answers[0].seen ?? pixels;
    const inverted = found.answers[0].inverted ? "It was dark on light, and was turned round." : "";
    fill(seen, picture && pictureOf(picture, { class: "seen pixels", "aria-label": "The 28x28 picture that the network saw" }), inverted, warnings(found.warnings));
    fill(answers, answerBars(found.answers, label));
    if (isSpoken) spoken.textContent = found.answers.map((one) => `${one.model.scheme} says ${one.label}, ${percent(Math.max(...one.probabilities), 0)}`).join("; ");
  } catch (error) {
    if (isOld()) return undefined;
    for (const place of [seen, spoken]) fill(place);
    fill(answers, failure(error));
  }
  return undefined;
}

/** Return what is to be posted: the picture as it is where it is fitted by the service, else 784 grey levels. */
function contentOf({ source, isFitted, board: pen }) {
  if (source.kind === "file") return { content: source.file, type: source.file.type || "application/octet-stream", pixels: null, isFitted };
  if (source.kind === "drawing" && isFitted) return { content: pen.npy(), type: "application/x-npy", pixels: null, isFitted };
  const pixels = source.kind === "digit" ? Uint8Array.from(source.pixels.flat()) : pen.pixels();
  return { content: pixels, type: "application/octet-stream", pixels, isFitted: false };
}

function warnings(list) {
  return (list ?? []).map((one) => element("p", { class: "notice" }, one.detail));
}

function takeDropsAndPastes(target, takeFile, signal) {
  target.addEventListener("dragover", (event) => {
    event.preventDefault();
    target.classList.add("over");
  });
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    if (event.dataTransfer.files[0]) takeFile(event.dataTransfer.files[0]);
  });
  const onPaste = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file) takeFile(file);
  };
  document.addEventListener("paste", onPaste, { signal });
}
